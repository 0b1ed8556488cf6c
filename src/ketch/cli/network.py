"""``ketch network create``, ``ls`` and ``rm``."""

import sys

from ketch.cli import listing
from ketch.cli.control import each
from ketch.cli.flags import Flag, UsageError, parse
from ketch.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

CREATE_FLAGS = (
    Flag("driver", "d", "text", "Driver to manage the network", "bridge"),
    Flag("gateway", "", "list", "IPv4 or IPv6 gateway for the subnet"),
    Flag("internal", "", "switch", "Restrict external access to the network"),
    Flag("label", "", "list", "Set metadata on a network"),
    Flag("opt", "o", "list", "Set driver specific options"),
    Flag("subnet", "", "list", "Subnet in CIDR format"),
)
REMOVE_FLAGS = (Flag("force", "f", "switch", "Do not error if the network does not exist"),)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "create": ("[OPTIONS] NETWORK", CREATE_FLAGS),
    "ls": ("[OPTIONS]", listing.FLAGS),
    "rm": ("NETWORK [NETWORK...]", REMOVE_FLAGS),
}
COLUMNS = (
    listing.Column("ID", "NETWORK ID"),
    listing.Column("Name", "NAME"),
    listing.Column("Driver", "DRIVER"),
    listing.Column("Scope", "SCOPE"),
)


def create(client: "Client", argv: "list[str]") -> int:
    """Make a network; prints its ID."""
    parsed = parse(CREATE_FLAGS, argv)
    if len(parsed.words) != 1:
        raise UsageError("'ketch network create' requires 1 argument")
    pools = []
    for index, subnet in enumerate(parsed["subnet"]):
        gateways = parsed["gateway"]
        gateway = {"Gateway": gateways[index]} if index < len(gateways) else {}
        pools.append({"Subnet": subnet, **gateway})
    body = {
        "Name": parsed.words[0],
        "Driver": parsed["driver"],
        "Internal": parsed["internal"],
        "Labels": dict(word.partition("=")[::2] for word in parsed["label"]),
        "Options": dict(word.partition("=")[::2] for word in parsed["opt"]),
        "IPAM": {"Driver": "default", "Config": pools},
    }
    sys.stdout.write(client.call("POST", "/networks/create", body=body)["Id"] + "\n")
    return 0


def ls(client: "Client", argv: "list[str]") -> int:
    """List networks."""
    parsed = parse(listing.FLAGS, argv)
    whole = parsed["no-trunc"]
    rows = [
        {
            "ID": item["Id"] if whole else item["Id"][:12],
            "Name": item["Name"],
            "Driver": item["Driver"],
            "Scope": item["Scope"],
        }
        for item in client.call("GET", "/networks", {"filters": listing.filters_of(parsed)})
    ]
    listing.show(parsed, COLUMNS, rows, "ID")
    return 0


def rm(client: "Client", argv: "list[str]") -> int:
    """Remove networks."""
    parsed = parse(REMOVE_FLAGS, argv)

    def remove(name: str) -> None:
        try:
            client.call("DELETE", f"/networks/{name}")
        except NotFound:
            if not parsed["force"]:
                raise

    return each(parsed.words, "network rm", remove)
