"""``--network name=…,alias=…``: the long form, and what goes into the endpoints of a request."""

from ketch.cli.csv_fields import fields
from ketch.cli.flag_values import address, pair
from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed

SINGLE = {"name": "name", "ip": "ip", "ip6": "ip6", "mac-address": "mac"}
MODES = ("host", "none", "default", "bridge")


def parse(text: str) -> "dict[str, Any]":
    """The fields of one ``--network``; raises ``ValueError``."""
    found: dict[str, Any] = {"name": "", "aliases": [], "options": {}, "local": []}
    for field in fields(text):
        key, equals, value = field.partition("=")
        key = key.strip().lower()
        if not equals:
            raise ValueError(f"invalid field '{field}' must be a key=value pair")
        _field(found, key, value.strip())
    if not found["name"]:
        raise ValueError("network name/id is not specified")
    return found


def _field(found: "dict[str, Any]", key: str, value: str) -> None:
    if key in SINGLE:
        found[SINGLE[key]] = value
    elif key == "alias":
        found["aliases"].append(value)
    elif key == "driver-opt":
        name, option = pair(value)
        if "=" not in value:
            raise ValueError("invalid key value pair format in driver options")
        found["options"][name.strip().lower()] = option.strip()
    elif key == "link-local-ip":
        found["local"].append(address(value))
    elif key == "gw-priority":
        try:
            found["priority"] = int(value)
        except ValueError:
            raise ValueError(f"invalid gw-priority ({value}): strconv.Atoi") from None
    else:
        raise ValueError(f"invalid field key {key}")


def endpoints(parsed: "Parsed") -> "dict[str, dict[str, Any]]":
    """Endpoint settings by network; ``--ip``, ``--mac-address``, … belong to the first.

    Empty when the defaults of the network mode say all.
    """
    networks = [dict(network) for network in parsed["network"]]
    if not all(network["name"] for network in networks):
        raise UsageError("no name set for network")
    asked = _asked(parsed)
    if len(networks) < 2 and not asked and all(set(one) == {"name"} for one in networks):
        return {}
    networks = networks or [{"name": "default"}]
    _join(networks[0], asked)
    if networks[0].get("aliases") and not _is_users(networks[0]["name"]):
        raise UsageError("network-scoped aliases are only supported for user-defined networks")
    if len({_is_users(network["name"]) for network in networks}) > 1:
        raise UsageError(
            "conflicting options: cannot attach both user-defined and non-user-defined "
            "network-modes"
        )
    found: dict[str, dict[str, Any]] = {}
    for network in networks:
        name = network["name"]
        if name in found:
            raise UsageError(f'network "{name}" is specified multiple times')
        found[name] = settings(network)
    return found


def _is_users(name: str) -> bool:
    """Whether a network was made by somebody, and is no mode."""
    return name not in MODES and not name.startswith("container:")


def _asked(parsed: "Parsed") -> "dict[str, Any]":
    """What the flags beside ``--network`` say of the first endpoint."""
    flags = {
        "aliases": "network-alias", "links": "link", "ip": "ip", "ip6": "ip6",
        "mac": "mac-address", "local": "link-local-ip",
    }  # fmt: skip
    asked = {key: parsed[flag] for key, flag in flags.items() if parsed[flag]}
    if "links" in asked and not _is_users(_mode(parsed)):
        del asked["links"]  # they stand in the host configuration
    return asked


def _mode(parsed: "Parsed") -> str:
    return str(parsed["network"][0]["name"]) if parsed["network"] else "default"


def _join(network: "dict[str, Any]", asked: "dict[str, Any]") -> None:
    words = {
        "aliases": ("--network-alias", "per-network alias"),
        "links": ("--link", "per-network links"),
        "ip": ("--ip", "per-network IPv4 address"),
        "ip6": ("--ip6", "per-network IPv6 address"),
        "mac": ("--mac-address", "per-network MAC address"),
        "local": ("--link-local-ip", "per-network link-local IP addresses"),
    }
    for key, value in asked.items():
        if network.get(key):
            flag, other = words[key]
            raise UsageError(f"conflicting options: cannot specify both {flag} and {other}")
        network[key] = value


def settings(network: "dict[str, Any]") -> "dict[str, Any]":
    """The API's EndpointSettings."""
    made: dict[str, Any] = {}
    addresses = {"ip": "IPv4Address", "ip6": "IPv6Address", "local": "LinkLocalIPs"}
    config = {name: network[key] for key, name in addresses.items() if network.get(key)}
    if config:
        made["IPAMConfig"] = config
    others = {"aliases": "Aliases", "links": "Links", "options": "DriverOpts"}
    others |= {"mac": "MacAddress", "priority": "GwPriority"}
    made.update({name: network[key] for key, name in others.items() if network.get(key)})
    return made
