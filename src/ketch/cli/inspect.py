"""Looking at objects: inspect, diff, top, port."""

import sys

from ketch.cli import pretty, table, template
from ketch.cli.flags import Flag, UsageError, parse
from ketch.errors import KetchError, NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ketch.client.api import Client

FORMAT = Flag("format", "f", "text", "Format output using a template, or json")
SIZE = Flag("size", "s", "switch", "Display total file sizes if the type is container")
INSPECT_FLAGS = (
    FORMAT,
    SIZE,
    Flag("type", help="Only inspect objects of the given type", default=""),
)
ROUTES = {
    "container": "/containers/{}/json",
    "image": "/images/{}/json",
    "network": "/networks/{}",
    "volume": "/volumes/{}",
}
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "inspect": ("[OPTIONS] NAME|ID [NAME|ID...]", INSPECT_FLAGS),
    "inspect_container": ("[OPTIONS] CONTAINER [CONTAINER...]", (FORMAT, SIZE)),
    "inspect_image": ("[OPTIONS] IMAGE [IMAGE...]", (FORMAT,)),
    "inspect_network": ("[OPTIONS] NETWORK [NETWORK...]", (FORMAT,)),
    "inspect_volume": ("[OPTIONS] VOLUME [VOLUME...]", (FORMAT,)),
    "diff": ("CONTAINER", ()),
    "top": ("CONTAINER [ps OPTIONS]", ()),
    "port": ("CONTAINER [PRIVATE_PORT[/PROTO]]", ()),
}


def _inspect(client: "Client", argv: "list[str]", kinds: "Sequence[str]") -> int:
    parsed = parse(INSPECT_FLAGS, argv)
    if not parsed.words:
        raise UsageError("'ketch inspect' requires at least 1 argument")
    if parsed["type"]:
        if parsed["type"] not in ROUTES:
            raise UsageError(f'unknown type: "{parsed["type"]}"')
        kinds = (parsed["type"],)
    found, missing = [], []
    for name in parsed.words:
        try:
            found.append(_one(client, name, kinds, parsed["size"]))
        except KetchError as error:
            missing.append(error.message)
    form = parsed["format"]
    if form and form != "json":
        sys.stdout.write("".join(template.expand(form, item) + "\n" for item in found))
    else:
        sys.stdout.write(pretty.dumps(found) + "\n")
    for message in missing:
        sys.stderr.write(f"Error: {message}\n")
    return 1 if missing else 0


def _one(client: "Client", name: str, kinds: "Sequence[str]", size: bool) -> "Any":
    for kind in kinds:
        try:
            query = {"size": True} if kind == "container" and size else None
            return client.call("GET", ROUTES[kind].format(name), query)
        except NotFound:
            if len(kinds) == 1:
                raise
    raise NotFound(f"No such object: {name}")


def inspect(client: "Client", argv: "list[str]") -> int:
    """Any object by name: container, image, network, volume, in this order."""
    return _inspect(client, argv, tuple(ROUTES))


def inspect_container(client: "Client", argv: "list[str]") -> int:
    """Containers only."""
    return _inspect(client, argv, ("container",))


def inspect_image(client: "Client", argv: "list[str]") -> int:
    """Images only."""
    return _inspect(client, argv, ("image",))


def inspect_network(client: "Client", argv: "list[str]") -> int:
    """Networks only."""
    return _inspect(client, argv, ("network",))


def inspect_volume(client: "Client", argv: "list[str]") -> int:
    """Volumes only."""
    return _inspect(client, argv, ("volume",))


def diff(client: "Client", argv: "list[str]") -> int:
    """Paths that differ from the image."""
    words = parse((), argv).words
    if len(words) != 1:
        raise UsageError("'ketch diff' requires 1 argument")
    for change in client.call("GET", f"/containers/{words[0]}/changes") or ():
        sys.stdout.write(f"{'CAD'[change['Kind']]} {change['Path']}\n")
    return 0


def top(client: "Client", argv: "list[str]") -> int:
    """Processes of a container, as ps(1) shows them."""
    words = parse((), argv, interspersed=False).words
    if not words:
        raise UsageError("'ketch top' requires at least 1 argument")
    query = {"ps_args": " ".join(words[1:]) or None}
    answer = client.call("GET", f"/containers/{words[0]}/top", query)
    sys.stdout.write(table.render(answer["Titles"], answer["Processes"]))
    return 0


def port(client: "Client", argv: "list[str]") -> int:
    """Published ports of a container."""
    words = parse((), argv).words
    if not words or len(words) > 2:
        raise UsageError("'ketch port' requires 1 or 2 arguments")
    ports = client.call("GET", f"/containers/{words[0]}/json")["NetworkSettings"]["Ports"] or {}
    wanted = ""
    if len(words) == 2:
        wanted = words[1] if "/" in words[1] else words[1] + "/tcp"
        if not ports.get(wanted):
            sys.stderr.write(f"Error: No public port '{wanted}' published for {words[0]}\n")
            return 1
    for inner, bindings in sorted(ports.items()):
        for binding in bindings or ():
            if not wanted or inner == wanted:
                host = f"{_bracketed(binding['HostIp'])}:{binding['HostPort']}"
                sys.stdout.write(f"{host}\n" if wanted else f"{inner} -> {host}\n")
    return 0


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
