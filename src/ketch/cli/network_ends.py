"""``ketch network connect`` and ``disconnect``."""

from ketch.cli import network_flag, routes
from ketch.cli.flag_values import link, pair
from ketch.cli.flags import Flag, count, parse

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.client.api import Client

CONNECT_FLAGS = (
    Flag("alias", "", "strings", "Add network-scoped alias for the container"),
    Flag("driver-opt", "", "strings", "Driver options for the network"),
    Flag("gw-priority", "", "number", "Highest gw-priority provides the default gateway", 0),
    Flag("ip", "", "text", 'IPv4 address (e.g., "172.30.100.104")', ""),
    Flag("ip6", "", "text", 'IPv6 address (e.g., "2001:db8::33")', ""),
    Flag("link", "", "list", "Add link to another container", convert=link, values="containers"),
    Flag("link-local-ip", "", "strings", "Add a link-local address for the container"),
)
DISCONNECT_FLAGS = (
    Flag("force", "f", "switch", "Force the container to disconnect from a network"),
)
HELP = {
    "connect": ("[OPTIONS] NETWORK CONTAINER", CONNECT_FLAGS),
    "disconnect": ("[OPTIONS] NETWORK CONTAINER", DISCONNECT_FLAGS),
}


def connect(client: "Client", argv: "list[str]") -> int:
    """Give a container one more network."""
    parsed = parse(CONNECT_FLAGS, argv)
    count(parsed, "network connect", 2)
    network, container = parsed.words
    settings = network_flag.settings(
        {
            "aliases": parsed["alias"],
            "links": parsed["link"],
            "options": dict(pair(word) for word in parsed["driver-opt"]),
            "ip": parsed["ip"],
            "ip6": parsed["ip6"],
            "local": parsed["link-local-ip"],
            "priority": parsed["gw-priority"],
        }
    )
    body = {"Container": container, "EndpointConfig": settings}
    client.call("POST", routes.network(network, "/connect"), body=body)
    return 0


def disconnect(client: "Client", argv: "list[str]") -> int:
    """Take a network away from a container."""
    parsed = parse(DISCONNECT_FLAGS, argv)
    count(parsed, "network disconnect", 2)
    network, container = parsed.words
    body = {"Container": container, "Force": parsed["force"]}
    client.call("POST", routes.network(network, "/disconnect"), body=body)
    return 0
