"""``ketch volume create``, ``ls`` and ``rm``."""

import sys

from ketch.cli import listing, routes, units
from ketch.cli.control import each
from ketch.cli.flag_values import filter_word, label, pair
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.client.api import Client

CLUSTER = (
    ("availability", "string", "Cluster Volume availability"),
    ("group", "string", "Cluster Volume group"),
    ("limit-bytes", "bytes", "Minimum size of the Cluster Volume in bytes"),
    ("required-bytes", "bytes", "Maximum size of the Cluster Volume in bytes"),
    ("scope", "string", "Cluster Volume access scope"),
    ("secret", "map", "Cluster Volume secrets"),
    ("sharing", "string", "Cluster Volume access sharing"),
    ("topology-preferred", "list", "Topology that the Cluster Volume would be preferred in"),
    ("topology-required", "list", "Topology that the Cluster Volume must be accessible from"),
    ("type", "string", "Cluster Volume access type"),
)
CREATE_FLAGS = (
    Flag("driver", "d", "text", "Specify volume driver name", "local", values=("local",)),
    Flag("label", "", "list", "Set metadata for a volume", convert=label),
    Flag("name", "", "text", "Specify volume name", ""),
    Flag("opt", "o", "list", "Set driver specific options", type="map", convert=pair),
    *(Flag(n, "", "list", f"{text} (not supported)", type=t) for n, t, text in CLUSTER),
)
LIST_FLAGS = (
    Flag("cluster", "", "switch", "Display only cluster volumes (not supported)"),
    Flag("filter", "f", "list", 'Provide filter values (e.g. "dangling=true")', type="filter",
         convert=filter_word, values="volume-filters"),
    listing.FORMAT,
    Flag("quiet", "q", "switch", "Only display volume names"),
)  # fmt: skip
REMOVE_FLAGS = (Flag("force", "f", "switch", "Force the removal of one or more volumes"),)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "create": ("[OPTIONS] [VOLUME]", CREATE_FLAGS),
    "ls": ("[OPTIONS]", LIST_FLAGS),
    "rm": ("[OPTIONS] VOLUME [VOLUME...]", REMOVE_FLAGS),
}
COLUMNS = (listing.Column("Driver", "DRIVER"), listing.Column("Name", "VOLUME NAME"))
HEADERS = {
    "Availability": "AVAILABILITY", "Group": "GROUP", "Labels": "LABELS", "Links": "LINKS",
    "Mountpoint": "MOUNTPOINT", "Scope": "SCOPE", "Size": "SIZE", "Status": "STATUS",
}  # fmt: skip
RAW = "name: {{.Name}}\ndriver: {{.Driver}}\n"


def create(client: "Client", argv: "list[str]") -> int:
    """Make a volume; prints its name."""
    parsed = parse(CREATE_FLAGS, argv)
    count(parsed, "volume create", 0, 1)
    for name, _, _ in CLUSTER:
        if name in parsed.given:
            raise Failure(f"--{name} is not supported: cluster volumes need a swarm")
    if parsed["name"] and parsed.words:
        raise Failure("conflicting options: cannot specify a volume-name through both --name and"
                      " as a positional arg")  # fmt: skip
    body = {
        "Name": parsed.words[0] if parsed.words else parsed["name"],
        "Driver": parsed["driver"],
        "Labels": dict(pair(word) for word in parsed["label"]),
        "DriverOpts": dict(parsed["opt"]),
    }
    sys.stdout.write(client.call("POST", "/volumes/create", body=body)["Name"] + "\n")
    return 0


def ls(client: "Client", argv: "list[str]") -> int:
    """List volumes."""
    parsed = parse(LIST_FLAGS, argv)
    count(parsed, "volume ls", 0)
    if parsed["cluster"]:
        raise Failure("--cluster is not supported: cluster volumes need a swarm")
    answer = client.call("GET", "/volumes", {"filters": listing.filters_of(parsed)})
    items = sorted(answer.get("Volumes") or (), key=lambda item: item["Name"])
    kind = listing.Kind("*formatter.volumeContext", "volumesFormat", HEADERS, RAW, listing.label_of)
    listing.show(parsed, COLUMNS, [row(item) for item in items], "Name", kind)
    return 0


def row(item: "dict[str, Any]") -> "dict[str, Any]":
    """One volume's texts; Docker's names for them."""
    usage = item.get("UsageData")
    return {
        "Availability": "N/A",
        "Driver": item["Driver"],
        "Group": "N/A",
        "Labels": listing.labels_text(item.get("Labels")),
        "Links": str(usage["RefCount"]) if usage else "N/A",
        "Mountpoint": item["Mountpoint"],
        "Name": item["Name"],
        "Scope": item["Scope"],
        "Size": units.human_size(usage["Size"], 4) if usage and usage["Size"] >= 0 else "N/A",
        "Status": "N/A",
    }


def rm(client: "Client", argv: "list[str]") -> int:
    """Remove volumes."""
    parsed = parse(REMOVE_FLAGS, argv)
    query = {"force": parsed["force"]}

    def remove(name: str) -> None:
        try:
            client.call("DELETE", routes.volume(name), query)
        except NotFound:
            if not parsed["force"]:
                raise

    return each(parsed.words, "volume rm", remove)
