"""``ketch volume create``, ``ls``, ``rm`` and ``prune``."""

import sys

from ketch.cli import listing, units
from ketch.cli.control import each
from ketch.cli.flags import Flag, UsageError, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

CREATE_FLAGS = (
    Flag("driver", "d", "text", "Specify volume driver name", "local"),
    Flag("label", "", "list", "Set metadata for a volume"),
    Flag("opt", "o", "list", "Set driver specific options"),
)
REMOVE_FLAGS = (Flag("force", "f", "switch", "Force the removal of one or more volumes"),)
PRUNE_FLAGS = (
    Flag("all", "a", "switch", "Remove all unused volumes, not just anonymous ones"),
    Flag("filter", "", "list", "Provide filter values"),
    Flag("force", "f", "switch", "Do not prompt for confirmation"),
)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "create": ("[OPTIONS] [VOLUME]", CREATE_FLAGS),
    "ls": ("[OPTIONS]", listing.FLAGS),
    "rm": ("[OPTIONS] VOLUME [VOLUME...]", REMOVE_FLAGS),
    "prune": ("[OPTIONS]", PRUNE_FLAGS),
}


def create(client: "Client", argv: "list[str]") -> int:
    """Make a volume; prints its name."""
    parsed = parse(CREATE_FLAGS, argv)
    if len(parsed.words) > 1:
        raise UsageError("'ketch volume create' accepts at most 1 argument")
    body = {
        "Name": parsed.words[0] if parsed.words else "",
        "Driver": parsed["driver"],
        "Labels": dict(word.partition("=")[::2] for word in parsed["label"]),
        "DriverOpts": dict(word.partition("=")[::2] for word in parsed["opt"]),
    }
    sys.stdout.write(client.call("POST", "/volumes/create", body=body)["Name"] + "\n")
    return 0


def ls(client: "Client", argv: "list[str]") -> int:
    """List volumes."""
    parsed = parse(listing.FLAGS, argv)
    answer = client.call("GET", "/volumes", {"filters": listing.filters_of(parsed)})
    rows = [
        {"Driver": item["Driver"], "Name": item["Name"], "Mountpoint": item["Mountpoint"]}
        for item in answer.get("Volumes") or ()
    ]
    columns = (listing.Column("Driver", "DRIVER"), listing.Column("Name", "VOLUME NAME"))
    listing.show(parsed, columns, rows, "Name")
    return 0


def rm(client: "Client", argv: "list[str]") -> int:
    """Remove volumes."""
    parsed = parse(REMOVE_FLAGS, argv)
    query = {"force": parsed["force"]}
    return each(
        parsed.words, "volume rm", lambda name: client.call("DELETE", f"/volumes/{name}", query)
    )


def prune(client: "Client", argv: "list[str]") -> int:
    """Remove volumes that no container uses."""
    from ketch.cli.confirm import confirmed

    parsed = parse(PRUNE_FLAGS, argv)
    kind = "all" if parsed["all"] else "anonymous"
    if not parsed["force"] and not confirmed(
        f"WARNING! This will remove {kind} local volumes not used by at least one container."
    ):
        return 1
    filters = listing.filters_of(parsed) or {}
    if parsed["all"]:
        filters["all"] = ["true"]
    answer = client.call("POST", "/volumes/prune", {"filters": filters or None})
    deleted = answer.get("VolumesDeleted") or []
    if deleted:
        sys.stdout.write("Deleted Volumes:\n" + "".join(f"{name}\n" for name in deleted) + "\n")
    sys.stdout.write(
        f"Total reclaimed space: {units.human_size(answer.get('SpaceReclaimed', 0))}\n"
    )
    return 0
