"""``ketch ps``: the containers there are."""

from ketch.cli import instants, listing, units
from ketch.cli.flag_values import filter_word
from ketch.cli.flags import Flag, count, parse
from ketch.cli.gotemplate.quoting import quoted

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

FLAGS = (
    Flag("all", "a", "switch", "Show all containers (default shows just running)"),
    Flag("filter", "f", "list", "Filter output based on conditions provided", type="filter",
         convert=filter_word, values="container-filters"),
    listing.FORMAT,
    Flag("last", "n", "number", "Show n last created containers (includes all states)", -1),
    Flag("latest", "l", "switch", "Show the latest created container (includes all states)"),
    listing.NO_TRUNC,
    Flag("quiet", "q", "switch", "Only display container IDs"),
    Flag("size", "s", "switch", "Display total file sizes"),
)  # fmt: skip
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
HEADERS = {
    "CreatedAt": "CREATED AT", "State": "STATE", "Labels": "LABELS", "Mounts": "MOUNTS",
    "LocalVolumes": "LOCAL VOLUMES", "Networks": "NETWORKS", "Size": "SIZE",
    "Platform": "PLATFORM",
}  # fmt: skip
RAW = (
    "container_id: {{.ID}}\nimage: {{.Image}}\ncommand: {{.Command}}\ncreated_at: {{.CreatedAt}}\n"
    "state: {{- pad .State 1 0}}\nstatus: {{- pad .Status 1 0}}\nnames: {{.Names}}\n"
    "labels: {{- pad .Labels 1 0}}\nports: {{- pad .Ports 1 0}}\n"
)


def ps(client: "Client", argv: "list[str]") -> int:
    """List containers."""
    parsed = parse(FLAGS, argv)
    count(parsed, "ps", 0)
    if parsed["quiet"] and parsed["format"]:
        import sys

        sys.stderr.write(
            "WARNING: Ignoring custom format, because both --format and --quiet are set.\n"
        )
        if parsed["format"] != "raw":
            parsed.values["format"] = None
    last = 1 if parsed["latest"] else parsed["last"]
    form = parsed["format"] or ""
    query = {
        "all": parsed["all"] or last > 0,
        "limit": last if last > 0 else None,
        "size": parsed["size"] or ".Size" in form or "json.}}" in form.replace(" ", ""),
        "filters": listing.filters_of(parsed),
    }
    whole = parsed["no-trunc"]
    rows = [row(item, whole) for item in client.call("GET", "/containers/json", query)]
    columns = (*COLUMNS, listing.Column("Size", "SIZE")) if parsed["size"] else COLUMNS
    raw = RAW + ("size: {{.Size}}\n" if parsed["size"] else "")
    kind = listing.Kind("*formatter.ContainerContext", "psFormat", HEADERS, raw, listing.label_of)
    kind.faults = ("failed to parse template: ", "failed to execute template: ")
    if parsed["format"] and not rows:  # a template that can't be filled is an error all the same
        blank = dict.fromkeys((*(column.field for column in COLUMNS), *HEADERS), "")
        listing.formatted(parsed["format"], [blank], HEADERS, kind)
    listing.show(parsed, columns, rows, "ID", kind)
    return 0


def row(item: "dict[str, Any]", whole: bool) -> "dict[str, Any]":
    """One container's texts; Docker's names for them."""
    command = item["Command"]
    if not whole and len(command) > 20:
        command = command[:19] + "…"
    mounts = item.get("Mounts") or ()
    volumes = [mount for mount in mounts if mount.get("Driver") == "local"]
    return {
        "ID": item["Id"] if whole else item["Id"][:12],
        "Image": _image(item, whole),
        "Command": quoted(command),
        "CreatedAt": instants.local(item["Created"]),
        "RunningFor": units.since(item["Created"]),
        "Status": item["Status"],
        "State": item["State"],
        "Ports": units.ports_text(item.get("Ports") or []),
        "Names": ",".join(name[1:] for name in item["Names"] if "/" not in name[1:]),
        "Labels": listing.labels_text(item.get("Labels")),
        "LocalVolumes": str(len(volumes)),
        "Mounts": ",".join(_mount(mount, whole) for mount in mounts),
        "Networks": ",".join(sorted((item.get("NetworkSettings") or {}).get("Networks") or {})),
        "Platform": None,
        "Size": _size(item),
    }


def _size(item: "dict[str, Any]") -> str:
    own = units.human_size(item.get("SizeRw") or 0)
    if not item.get("SizeRootFs"):
        return own
    return f"{own} (virtual {units.human_size(item['SizeRootFs'])})"


def _mount(mount: "dict[str, Any]", whole: bool) -> str:
    name = mount.get("Name") or mount.get("Source") or ""
    return name if whole or len(name) <= 15 else name[:14] + "…"


def _image(item: "dict[str, Any]", whole: bool) -> str:
    """The image's name; its ID, shortened, when the name has come to mean another image."""
    name = item["Image"] or "<no image>"
    if whole:
        return str(name)
    if name == item.get("ImageID"):
        return units.short_id(name)
    return name.removeprefix("sha256:")[:12] if name.startswith("sha256:") else _undigested(name)


def _undigested(name: str) -> str:
    """``name@sha256:…`` without the digest, as the table has room for."""
    return name.partition("@")[0] if "@" in name else name
