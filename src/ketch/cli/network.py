"""``ketch network create``, ``ls`` and ``rm``."""

import sys

from ketch.cli import instants, listing, routes
from ketch.cli.control import each
from ketch.cli.flag_values import filter_word, label, pair
from ketch.cli.flags import Failure, Flag, count, parse
from ketch.errors import NotFound

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed
    from ketch.client.api import Client

CREATE_FLAGS = (
    Flag("attachable", "", "switch", "Enable manual container attachment"),
    Flag("aux-address", "", "list", "Auxiliary IPv4 or IPv6 addresses used by Network driver",
         type="map", convert=pair),
    Flag("config-from", "", "text", "The network from which to copy the configuration", ""),
    Flag("config-only", "", "switch", "Create a configuration only network"),
    Flag("driver", "d", "text", "Driver to manage the Network", "bridge", values=("bridge",)),
    Flag("gateway", "", "strings", "IPv4 or IPv6 Gateway for the master subnet"),
    Flag("ingress", "", "switch", "Create swarm routing-mesh network"),
    Flag("internal", "", "switch", "Restrict external access to the network"),
    Flag("ip-range", "", "strings", "Allocate container ip from a sub-range"),
    Flag("ipam-driver", "", "text", "IP Address Management Driver", "default"),
    Flag("ipam-opt", "", "list", "Set IPAM driver specific options", type="map", convert=pair),
    Flag("ipv4", "", "switch", "Enable or disable IPv4 address assignment", True),
    Flag("ipv6", "", "switch", "Enable or disable IPv6 address assignment"),
    Flag("label", "", "list", "Set metadata on a network", convert=label),
    Flag("opt", "o", "list", "Set driver specific options", type="map", convert=pair),
    Flag("scope", "", "text", "Control the network's scope", "", values=("local",)),
    Flag("subnet", "", "strings", "Subnet in CIDR format that represents a network segment"),
)  # fmt: skip
LIST_FLAGS = (
    Flag("filter", "f", "list", 'Provide filter values (e.g. "driver=bridge")', type="filter",
         convert=filter_word, values="network-filters"),
    listing.FORMAT,
    listing.NO_TRUNC,
    Flag("quiet", "q", "switch", "Only display network IDs"),
)  # fmt: skip
REMOVE_FLAGS = (Flag("force", "f", "switch", "Do not error if the network does not exist"),)
HELP: "dict[str, tuple[str, tuple[Flag, ...]]]" = {
    "create": ("[OPTIONS] NETWORK", CREATE_FLAGS),
    "ls": ("[OPTIONS]", LIST_FLAGS),
    "rm": ("NETWORK [NETWORK...]", REMOVE_FLAGS),
}
COLUMNS = (
    listing.Column("ID", "NETWORK ID"),
    listing.Column("Name", "NAME"),
    listing.Column("Driver", "DRIVER"),
    listing.Column("Scope", "SCOPE"),
)
HEADERS = {
    "CreatedAt": "CREATED AT", "IPv4": "IPV4", "IPv6": "IPV6", "Internal": "INTERNAL",
    "Labels": "LABELS",
}  # fmt: skip
RAW = "network_id: {{.ID}}\nname: {{.Name}}\ndriver: {{.Driver}}\nscope: {{.Scope}}\n"


def create(client: "Client", argv: "list[str]") -> int:
    """Make a network; prints its ID."""
    parsed = parse(CREATE_FLAGS, argv)
    count(parsed, "network create", 1)
    body = {
        "Name": parsed.words[0],
        "Driver": parsed["driver"],
        "Scope": parsed["scope"],
        "Internal": parsed["internal"],
        "Attachable": parsed["attachable"],
        "Ingress": parsed["ingress"],
        "ConfigOnly": parsed["config-only"],
        "Labels": dict(pair(word) for word in parsed["label"]),
        "Options": dict(parsed["opt"]),
        "IPAM": {
            "Driver": parsed["ipam-driver"],
            "Config": _pools(parsed),
            "Options": dict(parsed["ipam-opt"]),
        },
    }
    if parsed["config-from"]:
        body["ConfigFrom"] = {"Network": parsed["config-from"]}
    for flag, key in (("ipv4", "EnableIPv4"), ("ipv6", "EnableIPv6")):
        if flag in parsed.given:
            body[key] = parsed[flag]
    answer = client.call("POST", "/networks/create", body=body)
    if answer.get("Warning"):
        sys.stderr.write(f"WARNING: {answer['Warning']}\n")
    sys.stdout.write(answer["Id"] + "\n")
    return 0


def _pools(parsed: "Parsed") -> "list[dict[str, Any]]":
    """Subnets with the ranges, gateways and other addresses that lie in them."""
    import ipaddress

    subnets = parsed["subnet"]
    if not subnets and (parsed["ip-range"] or parsed["gateway"] or parsed["aux-address"]):
        raise Failure("every ip-range or gateway must have a corresponding subnet")
    try:
        nets = [ipaddress.ip_network(text, strict=False) for text in subnets]
        pools: list[dict[str, Any]] = [{"Subnet": text} for text in subnets]
        for text in parsed["ip-range"]:
            inner = ipaddress.ip_network(text, strict=False)
            _place(pools, nets, inner.network_address, "range", text)["IPRange"] = text
        for text in parsed["gateway"]:
            _place(pools, nets, ipaddress.ip_address(text), "gateway", text)["Gateway"] = text
        for name, text in parsed["aux-address"]:
            pool = _place(pools, nets, ipaddress.ip_address(text), "aux-address", text)
            pool.setdefault("AuxiliaryAddresses", {})[name] = text
    except ValueError as error:
        raise Failure(f"invalid address: {error}") from None
    return pools


def _place(
    pools: "list[dict[str, Any]]", nets: "list[Any]", address: "Any", what: str, text: str
) -> "dict[str, Any]":
    for pool, net in zip(pools, nets, strict=True):
        if address in net:
            return pool
    raise Failure(f"no matching subnet for {what} {text}")


def ls(client: "Client", argv: "list[str]") -> int:
    """List networks."""
    parsed = parse(LIST_FLAGS, argv)
    count(parsed, "network ls", 0)
    items = client.call("GET", "/networks", {"filters": listing.filters_of(parsed)})
    rows = [_row(item, parsed["no-trunc"]) for item in sorted(items, key=lambda i: i["Name"])]
    kind = listing.Kind(
        "*formatter.networkContext", "networksFormat", HEADERS, RAW, listing.label_of
    )
    listing.show(parsed, COLUMNS, rows, "ID", kind)
    return 0


def _row(item: "dict[str, Any]", whole: bool) -> "dict[str, Any]":
    return {
        "ID": item["Id"] if whole else item["Id"][:12],
        "Name": item["Name"],
        "Driver": item["Driver"],
        "Scope": item["Scope"],
        "CreatedAt": instants.spelled(item.get("Created", "")),
        "IPv4": str(item.get("EnableIPv4", True)).lower(),
        "IPv6": str(item.get("EnableIPv6", False)).lower(),
        "Internal": str(item.get("Internal", False)).lower(),
        "Labels": listing.labels_text(item.get("Labels")),
    }


def rm(client: "Client", argv: "list[str]") -> int:
    """Remove networks."""
    parsed = parse(REMOVE_FLAGS, argv)

    def remove(name: str) -> bool:
        try:
            client.call("DELETE", routes.network(name))
        except NotFound:
            if not parsed["force"]:
                raise
            return False
        return True

    return each(parsed.words, "network rm", remove)
