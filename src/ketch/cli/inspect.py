"""Looking at objects: inspect, diff, top, port."""

import sys

from ketch.cli import pretty, routes, table
from ketch.cli.exits import prefix
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.errors import KetchError, NotFound
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

FORMAT = Flag("format", "f", "text", "Format output using a template, or json", "")
SIZE = Flag("size", "s", "switch", "Display total file sizes if the type is container")
INSPECT_FLAGS = (
    FORMAT,
    SIZE,
    Flag("type", help="Only inspect objects of the given type", default="",
         values=("container", "image", "network", "volume")),
)  # fmt: skip
IMAGE_FLAGS = (
    FORMAT,
    Flag("platform", "", "text", "Inspect the given platform (os[/arch[/variant]])", "",
         values="platforms"),
)  # fmt: skip
NETWORK_FLAGS = (
    FORMAT,
    Flag("verbose", "v", "switch", "Verbose output for diagnostics"),
)
ROUTES: "dict[str, Callable[[str], str]]" = {
    "container": lambda name: routes.container(name, "/json"),
    "image": lambda name: routes.image(name, "/json"),
    "network": routes.network,
    "volume": routes.volume,
}
SWARM_TYPES = ("config", "node", "plugin", "secret", "service", "task")
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "inspect": ("[OPTIONS] NAME|ID [NAME|ID...]", INSPECT_FLAGS),
    "inspect_container": ("[OPTIONS] CONTAINER [CONTAINER...]", (FORMAT, SIZE)),
    "inspect_image": ("[OPTIONS] IMAGE [IMAGE...]", IMAGE_FLAGS),
    "inspect_network": ("[OPTIONS] NETWORK [NETWORK...]", NETWORK_FLAGS),
    "inspect_volume": ("[OPTIONS] VOLUME [VOLUME...]", (FORMAT,)),
    "diff": ("CONTAINER", ()),
    "top": ("CONTAINER [ps OPTIONS]", ()),
    "port": ("CONTAINER [PRIVATE_PORT[/PROTO]]", ()),
}


def _inspect(client: "Client", argv: "list[str]", name: str, kinds: "Sequence[str]") -> int:
    function = "inspect" if name == "inspect" else f"inspect_{kinds[0]}"
    parsed = parse(HELP[function][1], argv)
    count(parsed, name, 1, None)
    kinds = _kinds(parsed.values.get("type") or "", kinds)
    query = _query(parsed)
    found, missing = [], []
    for word in parsed.words:
        try:
            found.append(_one(client, word, kinds, query))
        except KetchError as error:
            missing.append(f"{prefix(error)}{error}" if error.from_engine else f"Error: {error}")
    _print(parsed["format"], found)
    for message in missing:
        sys.stderr.write(f"{message}\n")
    return 1 if missing else 0


def _kinds(asked: str, kinds: "Sequence[str]") -> "Sequence[str]":
    if not asked:
        return kinds
    if asked in SWARM_TYPES:
        raise Failure(f"--type {asked} is not supported: ketch has no {asked}s")
    if asked not in ROUTES:
        known = ", ".join(f'"{kind}"' for kind in ROUTES)
        raise Failure(f'unknown type: "{asked}": must be one of {known}')
    return (asked,)


def _query(parsed: "Parsed") -> "dict[str, dict[str, Any]]":
    """What to ask of each kind of object."""
    query: dict[str, dict[str, Any]] = {"container": {"size": parsed.values.get("size")}}
    query["network"] = {"verbose": parsed.values.get("verbose")}
    if parsed.values.get("platform"):
        from ketch.cli.image_names import platform_json

        query["image"] = {"platform": platform_json(parsed["platform"])}
    return query


def _print(form: str, found: "list[Any]") -> None:
    """All objects as a list of JSON, or each by a template."""
    if not form:
        sys.stdout.write(pretty.dumps(found) + "\n")
    else:
        from ketch.cli import template

        if form == "json":
            sys.stdout.write(fastjson.dumps(found).decode() + "\n")
        else:
            fill = template.compiled(form, code=template.BAD_TEMPLATE)
            sys.stdout.write("\n".join(fill(item) for item in found) + "\n")
    sys.stdout.flush()


def _one(client: "Client", name: str, kinds: "Sequence[str]", query: "dict[str, Any]") -> "Any":
    for kind in kinds:
        try:
            return client.call("GET", ROUTES[kind](name), query.get(kind))
        except NotFound:
            if len(kinds) == 1:
                raise
    raise NotFound(f"No such object: {name}")


def inspect(client: "Client", argv: "list[str]") -> int:
    """Any object by name: container, image, network, volume, in this order."""
    return _inspect(client, argv, "inspect", tuple(ROUTES))


def inspect_container(client: "Client", argv: "list[str]") -> int:
    """Containers only."""
    return _inspect(client, argv, "container inspect", ("container",))


def inspect_image(client: "Client", argv: "list[str]") -> int:
    """Images only."""
    return _inspect(client, argv, "image inspect", ("image",))


def inspect_network(client: "Client", argv: "list[str]") -> int:
    """Networks only."""
    return _inspect(client, argv, "network inspect", ("network",))


def inspect_volume(client: "Client", argv: "list[str]") -> int:
    """Volumes only."""
    return _inspect(client, argv, "volume inspect", ("volume",))


def diff(client: "Client", argv: "list[str]") -> int:
    """Paths that differ from the image."""
    parsed = parse((), argv)
    count(parsed, "diff", 1)
    for change in client.call("GET", routes.container(parsed.words[0], "/changes")) or ():
        sys.stdout.write(f"{'CAD'[change['Kind']]} {change['Path']}\n")
    return 0


def top(client: "Client", argv: "list[str]") -> int:
    """Processes of a container, as ps(1) shows them."""
    parsed = parse((), argv, interspersed=False)
    count(parsed, "top", 1, None)
    name, *options = parsed.words
    query = {"ps_args": " ".join(options) or None}
    answer = client.call("GET", routes.container(name, "/top"), query)
    sys.stdout.write(table.render(answer["Titles"], answer["Processes"], NARROWEST_OF_TOP))
    return 0


NARROWEST_OF_TOP = 20


def port(client: "Client", argv: "list[str]") -> int:
    """Published ports of a container."""
    parsed = parse((), argv)
    count(parsed, "port", 1, 2)
    name, *rest = parsed.words
    info = client.call("GET", routes.container(name, "/json"))
    ports = info["NetworkSettings"]["Ports"] or {}
    wanted = ""
    if rest:
        wanted = rest[0] if "/" in rest[0] else rest[0] + "/tcp"
        if not ports.get(wanted):
            raise Failure(f"Error: No public port '{rest[0]}' published for {name}")
    lines = []
    for inner, bindings in ports.items():
        for binding in bindings or ():
            if not wanted or inner == wanted:
                host = f"{_bracketed(binding['HostIp'])}:{binding['HostPort']}"
                line = f"{host}\n" if wanted else f"{inner} -> {host}\n"
                lines.append((int(inner.partition("/")[0]), line))
    sys.stdout.write("".join(line for _, line in sorted(lines)))
    return 0


def _bracketed(address: str) -> str:
    return f"[{address}]" if ":" in address else address
