"""``ketch ps``: the containers there are."""

from ketch.cli import listing, units
from ketch.cli.flags import Flag, UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    *listing.FLAGS,
    Flag("all", "a", "switch", "Show all containers (default shows just running)"),
    Flag("last", "n", "number", "Show n last created containers (includes all states)", -1),
    Flag("latest", "l", "switch", "Show the latest created container (includes all states)"),
    Flag("size", "s", "switch", "Display total file sizes"),
)
HELP = {"ps": ("[OPTIONS]", FLAGS)}
COLUMNS = (
    listing.Column("ID", "CONTAINER ID"),
    listing.Column("Image", "IMAGE"),
    listing.Column("Command", "COMMAND"),
    listing.Column("RunningFor", "CREATED"),
    listing.Column("Status", "STATUS"),
    listing.Column("Ports", "PORTS"),
    listing.Column("Names", "NAMES"),
)


def ps(client: "Client", argv: "list[str]") -> int:
    """List containers."""
    parsed = parse(FLAGS, argv)
    if parsed.words:
        raise UsageError("'ketch ps' accepts no arguments")
    last = 1 if parsed["latest"] else parsed["last"]
    query = {
        "all": parsed["all"] or last > 0,
        "limit": last if last > 0 else None,
        "size": parsed["size"],
        "filters": listing.filters_of(parsed),
    }
    rows = [
        _row(item, parsed["no-trunc"]) for item in client.call("GET", "/containers/json", query)
    ]
    columns = (*COLUMNS, listing.Column("Size", "SIZE")) if parsed["size"] else COLUMNS
    listing.show(parsed, columns, rows, "ID")
    return 0


def _row(item: "dict[str, Any]", whole: bool) -> "dict[str, str]":
    command = item["Command"]
    if not whole and len(command) > 20:
        command = command[:19] + "…"
    size = ""
    if "SizeRw" in item:
        root = units.human_size(item.get("SizeRootFs", 0))
        size = f"{units.human_size(item['SizeRw'])} (virtual {root})"
    return {
        "ID": item["Id"] if whole else item["Id"][:12],
        "Image": _image(item["Image"]),
        "Command": f'"{command}"',
        "CreatedAt": str(item["Created"]),
        "RunningFor": units.since(item["Created"]),
        "Status": item["Status"],
        "State": item["State"],
        "Ports": units.ports_text(item.get("Ports") or []),
        "Names": ",".join(name.lstrip("/") for name in item["Names"]),
        "Labels": ",".join(f"{key}={value}" for key, value in (item.get("Labels") or {}).items()),
        "Mounts": ",".join(
            mount.get("Name") or mount["Source"] for mount in item.get("Mounts") or ()
        ),
        "Networks": ",".join((item.get("NetworkSettings") or {}).get("Networks") or {}),
        "Size": size,
    }


def _image(name: str) -> str:
    return name.removeprefix("sha256:")[:12] if name.startswith("sha256:") else name
