"""``ketch context``: named engines, shared with the docker command line."""

import os
import sys

from ketch.cli import listing
from ketch.cli.context_endpoint import apply, asked_endpoint, copied
from ketch.cli.context_endpoint import current as current_endpoint
from ketch.cli.flags import Flag, UsageError, parse
from ketch.client import config_file, endpoint
from ketch.client.contexts import Context, Store, check_name
from ketch.errors import Conflict, InvalidParameter, KetchError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

DESCRIPTION = Flag("description", "", "text", "Description of the context", "")
DOCKER = Flag("docker", "", "list", "Set the endpoint: host=…,ca=…,cert=…,key=…,skip-tls-verify=…")
CREATE_FLAGS = (
    DESCRIPTION,
    DOCKER,
    Flag("from", "", "text", "Create context from a named context", ""),
)
UPDATE_FLAGS = (DESCRIPTION, DOCKER)
LIST_FLAGS = (
    Flag("format", help="table, json or a template such as '{{.Name}}'"),
    Flag("quiet", "q", "switch", "Only show context names"),
)
REMOVE_FLAGS = (Flag("force", "f", "switch", "Force the removal of a context in use"),)
INSPECT_FLAGS = (Flag("format", "f", "text", "Format output using a template, or json", ""),)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "create": ("[OPTIONS] CONTEXT", CREATE_FLAGS),
    "update": ("[OPTIONS] CONTEXT", UPDATE_FLAGS),
    "ls": ("[OPTIONS]", LIST_FLAGS),
    "rm": ("CONTEXT [CONTEXT...]", REMOVE_FLAGS),
    "use": ("CONTEXT", ()),
    "show": ("", ()),
    "inspect": ("[OPTIONS] [CONTEXT] [CONTEXT...]", INSPECT_FLAGS),
}


def create(client: "Client", argv: "list[str]") -> int:
    """Store a new context."""
    parsed = parse(CREATE_FLAGS, argv)
    name = _one(parsed.words, "create")
    check_name(name)
    store = Store()
    asked = asked_endpoint(parsed["docker"])
    source = parsed["from"] or asked.pop("from", "")
    context, tls = copied(store, source, name)
    if parsed["description"]:
        context.description = parsed["description"]
    if asked:
        tls = apply(context, asked)
    store.add(context, tls)
    _say(name, f'Successfully created context "{name}"')
    return 0


def update(client: "Client", argv: "list[str]") -> int:
    """Change a stored context."""
    parsed = parse(UPDATE_FLAGS, argv)
    name = _one(parsed.words, "update")
    check_name(name)
    store = Store()
    context = store.get(name)
    if parsed["description"]:
        context.description = parsed["description"]
    asked = asked_endpoint(parsed["docker"])
    tls: dict[str, bytes] | None = None
    if source := asked.pop("from", ""):
        other, tls = copied(store, source, name)
        context.host, context.skip_verify = other.host, other.skip_verify
    if asked:
        tls = apply(context, asked)
    store.put(context, tls)
    _say(name, f'Successfully updated context "{name}"')
    return 0


def ls(client: "Client", argv: "list[str]") -> int:
    """List contexts; a star marks the one that counts now."""
    parsed = parse(LIST_FLAGS, argv)
    _no_words(parsed.words, "ls")
    current = endpoint.context_name(config_file.load())
    store = Store()
    rows = [_row(current_endpoint(), current)]
    rows += [_row(store.get(name), current) for name in store.names()]
    if current not in [row["Name"] for row in rows]:
        rows.append(_row(Context({"Name": current}, {}), current, "context not found"))
    form = parsed["format"] or ""
    if parsed["quiet"] or (form and not form.startswith("table")):
        listing.show(parsed, (), rows, "Name")
        return 0
    starred = [{**row, "Name": row["Name"] + (" *" if row["Current"] else "")} for row in rows]
    columns = [
        listing.Column("Name", "NAME"),
        listing.Column("Description", "DESCRIPTION"),
        listing.Column("DockerEndpoint", "DOCKER ENDPOINT"),
        listing.Column("Error", "ERROR"),
    ]
    listing.show(parsed, columns, starred, "Name")
    for variable in _overriding():
        sys.stderr.write(
            f"Warning: {variable} environment variable overrides the active context. To use a"
            f" context, either set the global --context flag, or unset {variable} environment"
            " variable.\n"
        )
    return 0


def _overriding() -> "list[str]":
    return [name for name in ("KETCH_HOST", "DOCKER_HOST") if os.environ.get(name)]


def _row(context: Context, current: str, error: str = "") -> "dict[str, Any]":
    try:
        if not error:
            context.address()
    except KetchError as fault:
        error = str(fault)
    return {
        "Current": context.name == current,
        "Description": context.description,
        "DockerEndpoint": context.host,
        "Error": error,
        "Name": context.name,
    }


def use(client: "Client", argv: "list[str]") -> int:
    """Make a context the one that counts."""
    name = _one(parse((), argv).words, "use")
    if name != endpoint.DEFAULT_CONTEXT:
        check_name(name)
        Store().get(name)
    _set_current(name)
    _say(name, f'Current context is now "{name}"')
    for variable in _overriding():
        sys.stderr.write(
            f"Warning: {variable} environment variable overrides the active context."
            f' To use "{name}", either set the global --context flag, or unset {variable}'
            " environment variable.\n"
        )
    return 0


def _set_current(name: str) -> None:
    config = config_file.load()
    if name == endpoint.DEFAULT_CONTEXT:
        config.pop("currentContext", None)
    else:
        config["currentContext"] = name
    config_file.save(config)


def show(client: "Client", argv: "list[str]") -> int:
    """Print the name of the context that counts."""
    _no_words(parse((), argv).words, "show")
    sys.stdout.write(endpoint.context_name(config_file.load()) + "\n")
    return 0


def rm(client: "Client", argv: "list[str]") -> int:
    """Remove contexts; goes on after an error, exit code 1 at the end."""
    parsed = parse(REMOVE_FLAGS, argv)
    if not parsed.words:
        raise UsageError("'ketch context rm' requires at least 1 argument")
    code = 0
    for name in parsed.words:
        try:
            _remove(name, force=parsed["force"])
            sys.stdout.write(f"{name}\n")
        except KetchError as error:
            sys.stderr.write(f"{error}\n")
            code = 1
    return code


def _remove(name: str, *, force: bool) -> None:
    if name == endpoint.DEFAULT_CONTEXT:
        raise InvalidParameter('context "default" cannot be removed')
    store = Store()
    if not force:
        store.get(name)
    if config_file.load().get("currentContext") == name:
        if not force:
            raise Conflict(f'context "{name}" is in use, set -f flag to force remove')
        _set_current(endpoint.DEFAULT_CONTEXT)
    store.remove(name)


def inspect(client: "Client", argv: "list[str]") -> int:
    """Print everything about contexts."""
    parsed = parse(INSPECT_FLAGS, argv)
    names = parsed.words or [endpoint.context_name(config_file.load())]
    documents, code = [], 0
    for name in names:
        try:
            documents.append(_document(name))
        except KetchError as error:
            sys.stderr.write(f"{error}\n")
            code = 1
    if parsed["format"] and parsed["format"] != "json":
        from ketch.cli import template

        sys.stdout.write("".join(template.expand(parsed["format"], d) + "\n" for d in documents))
    else:
        from ketch.cli import pretty

        sys.stdout.write(pretty.dumps(documents) + "\n")
    return code


def _document(name: str) -> "dict[str, Any]":
    if name == endpoint.DEFAULT_CONTEXT:
        context = current_endpoint()
        context.description, context.fields = "", {}
        places = {"MetadataPath": "<IN MEMORY>", "TLSPath": "<IN MEMORY>"}
    else:
        store = Store()
        context = store.get(name)
        places = {"MetadataPath": store.metadata_path(name), "TLSPath": store.tls_path(name)}
    files = sorted(os.path.basename(path) for path in context.tls.values())
    return {
        **context.document(),
        "TLSMaterial": {"docker": files} if files else {},
        "Storage": places,
    }


def _one(words: "list[str]", verb: str) -> str:
    if len(words) != 1:
        raise UsageError(f"'ketch context {verb}' requires 1 argument")
    return words[0]


def _no_words(words: "list[str]", verb: str) -> None:
    if words:
        raise UsageError(f"'ketch context {verb}' accepts no arguments")


def _say(result: str, message: str) -> None:
    sys.stdout.write(result + "\n")
    sys.stdout.flush()
    sys.stderr.write(message + "\n")
