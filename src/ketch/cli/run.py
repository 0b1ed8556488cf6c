"""``ketch run`` and ``ketch create``."""

import os
import sys

from ketch.cli import exits, routes
from ketch.cli.create_body import build
from ketch.cli.flags import Failure, Parsed, UsageError, count, parse
from ketch.cli.run_flags import FLAGS
from ketch.client import config_file
from ketch.client.connection import LocalFault
from ketch.errors import Conflict, KetchError, NotFound, os_reason

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.client.api import Client

CREATE_FLAGS = tuple(
    flag for flag in FLAGS if flag.name not in ("detach", "detach-keys", "sig-proxy")
)
HELP = {
    "run": ("[OPTIONS] IMAGE [COMMAND] [ARG...]", FLAGS),
    "create": ("[OPTIONS] IMAGE [COMMAND] [ARG...]", CREATE_FLAGS),
}


def create(client: "Client", argv: "list[str]") -> int:
    """Make a container without starting it; prints its ID."""
    parsed = parse(CREATE_FLAGS, argv, interspersed=False)
    count(parsed, "create", 1, None)
    try:
        identity = _create(client, parsed)
    except UsageError as error:
        return _refused("create", error)
    sys.stdout.write(identity + "\n")
    return 0


def run(client: "Client", argv: "list[str]") -> int:
    """Make a container, start it, and stay with it unless ``-d``."""
    parsed = parse(FLAGS, argv, interspersed=False)
    count(parsed, "run", 1, None)
    _check(parsed)
    client.connect_ahead()
    if parsed["build"]:
        code = _build_first(client, parsed)
        if code:
            return code
    try:
        identity = _create(client, parsed, None if parsed["detach"] else _get_ready)
    except (KetchError, UsageError) as error:
        return _refused("run", error)
    if parsed["detach"]:
        return _start_detached(client, identity)
    from ketch.cli.attached_run import stay

    return stay(client, identity, parsed)


def _build_first(client: "Client", parsed: Parsed) -> int:
    """``--build``: the image is what the first word builds to; the exit code of a failure."""
    from ketch.cli import build as builder
    from ketch.cli.build_flags import FLAGS as BUILD_FLAGS

    words = ["--progress", "quiet" if parsed["quiet"] else "auto", parsed.words[0]]
    wanted = parse(BUILD_FLAGS, words)
    code, image = builder.build_parsed(client, wanted, silent=True)
    parsed.words[0] = image or parsed.words[0]
    return exits.USAGE if code else 0


def _check(parsed: Parsed) -> None:
    if parsed["detach"] and parsed["attach"]:
        raise Failure("conflicting options: cannot specify both --attach and --detach")
    if parsed["tty"] and not parsed["detach"] and parsed["interactive"] and not os.isatty(0):
        raise Failure("the input device is not a TTY")


def _get_ready() -> None:
    """What comes next is imported while the engine makes the container."""
    from ketch.cli import attached_run  # noqa: F401


def _create(client: "Client", parsed: Parsed, meanwhile: "Callable[[], None] | None" = None) -> str:
    """Create, pulling the image as ``--pull`` says; returns the container's ID."""
    if parsed["pull"] not in ("always", "missing", "never"):
        raise UsageError(
            f"invalid pull option: '{parsed['pull']}': must be one of"
            ' "always", "missing" or "never"'
        )
    for server in parsed["dns"]:
        if server.startswith("127.") or server == "::1":
            sys.stderr.write(f"WARNING: Localhost DNS ({server}) may fail in containers.\n")
    body = build(parsed, parsed.words[0], parsed.words[1:])
    if "proxies" in config_file.load():
        from ketch.cli import proxies

        proxies.add_to_container(body, client)
    accounts = False
    if parsed["use-api-socket"]:
        from ketch.cli import api_socket

        accounts = api_socket.add(body, client)
    cidfile = _open_cidfile(parsed["cidfile"])
    query = {"name": parsed["name"] or None, "platform": parsed["platform"] or None}
    try:
        answer = _post(client, query, body, parsed, meanwhile)
        if accounts:
            api_socket.give_accounts(client, str(answer["Id"]))
    except BaseException:
        if cidfile is not None:
            os.unlink(parsed["cidfile"])
        raise
    return _created(answer, cidfile)


def _post(
    client: "Client",
    query: "dict[str, Any]",
    body: "dict[str, Any]",
    parsed: Parsed,
    meanwhile: "Callable[[], None] | None",
) -> "dict[str, Any]":
    """Create, and again once the image is there."""
    image = parsed.words[0]
    if parsed["pull"] == "always":
        _pull(client, image, parsed)
    try:
        answer: dict[str, Any] = client.call(
            "POST", "/containers/create", query, body, meanwhile=meanwhile
        )
    except NotFound as error:
        if "No such image" not in error.message or parsed["pull"] == "never":
            raise
        if not parsed["quiet"]:
            sys.stderr.write(f"Unable to find image '{_with_tag(image)}' locally\n")
        _pull(client, image, parsed)
        answer = client.call("POST", "/containers/create", query, body)
    return answer


def _pull(client: "Client", image: str, parsed: Parsed) -> None:
    from ketch.cli import pull  # 2 ms that a run of a local image need not pay

    pull.fetch(client, image, parsed["platform"], quiet=parsed["quiet"], output=sys.stderr)


def _created(answer: "dict[str, Any]", cidfile: "int | None") -> str:
    for warning in answer.get("Warnings") or ():
        sys.stderr.write(f"WARNING: {warning}\n")
    identity = str(answer["Id"])
    if cidfile is not None:
        os.write(cidfile, identity.encode())
        os.close(cidfile)
    return identity


def _open_cidfile(path: str) -> "int | None":
    """Made before the container, so that a file that is there stops the run."""
    if not path:
        return None
    try:
        return os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    except FileExistsError:
        raise Conflict(
            f"container ID file found, make sure the other container isn't running or delete {path}"
        ) from None
    except OSError as error:
        raise LocalFault(
            f"failed to create the container ID file: open {os_reason(error)}"
        ) from None


def _with_tag(image: str) -> str:
    last = image.rpartition("/")[2]
    return image if ":" in last or "@" in image else f"{image}:latest"


def _start_detached(client: "Client", identity: str) -> int:
    try:
        client.call("POST", routes.container(identity, "/start"))
    except KetchError as error:
        sys.stdout.write(identity + "\n")
        sys.stdout.flush()
        sys.stderr.write(
            f"ketch: Error response from daemon: {error}\n\n"
            "Run 'ketch run --help' for more information\n"
        )
        return exits.of_run(error)
    sys.stdout.write(identity + "\n")
    return 0


def _refused(verb: str, error: "KetchError | UsageError") -> int:
    prefix = exits.prefix(error) if isinstance(error, KetchError) else ""
    sys.stderr.write(f"ketch: {prefix}{error}\n\nRun 'ketch {verb} --help' for more information\n")
    return exits.of_run(error) if isinstance(error, KetchError) else exits.USAGE
