"""The ``Link`` value: one network interface of a sandbox, as data.

The network room plans links (names, addresses, routes); ``ketch.linux.links`` executes them for
whoever holds the network namespace: the shim when a sandbox is made, the daemon when a network is
connected to a running container. On the launcher's import path: imports nothing.
"""


class Link:
    """A veth pair between a bridge of the host and a sandbox.

    ``host_name`` is the interface on the host (at most 15 bytes), enslaved to ``bridge``;
    ``name`` the interface inside (``eth0``); ``addresses`` are ``"172.17.0.2/16"`` strings, IPv4 or
    IPv6; ``gateways`` the default routes (none for an internal network); ``mac`` is
    ``"02:42:ac:11:00:02"``; ``mtu`` in bytes, 0 for the kernel's default.
    """

    __slots__ = ("addresses", "bridge", "gateways", "host_name", "mac", "mtu", "name")

    def __init__(
        self,
        *,
        name: str,
        host_name: str,
        bridge: str,
        mac: str,
        addresses: "tuple[str, ...]",
        gateways: "tuple[str, ...]" = (),
        mtu: int = 0,
    ) -> None:
        self.name = name
        self.host_name = host_name
        self.bridge = bridge
        self.mac = mac
        self.addresses = tuple(addresses)
        self.gateways = tuple(gateways)
        self.mtu = mtu

    def to_wire(self) -> "dict[str, object]":
        """The dictionary that crosses a socket."""
        return {
            "name": self.name,
            "host_name": self.host_name,
            "bridge": self.bridge,
            "mac": self.mac,
            "addresses": list(self.addresses),
            "gateways": list(self.gateways),
            "mtu": self.mtu,
        }

    @classmethod
    def from_wire(cls, wire: "dict[str, object]") -> "Link":
        """Rebuild from ``to_wire``; raises KeyError or TypeError when the shape is wrong."""
        addresses, gateways, mtu = wire["addresses"], wire["gateways"], wire["mtu"]
        if not isinstance(addresses, list) or not isinstance(gateways, list):
            raise TypeError("addresses and gateways must be lists")
        if not isinstance(mtu, int):
            raise TypeError("mtu must be a number")
        return cls(
            name=str(wire["name"]),
            host_name=str(wire["host_name"]),
            bridge=str(wire["bridge"]),
            mac=str(wire["mac"]),
            addresses=tuple(str(address) for address in addresses),
            gateways=tuple(str(gateway) for gateway in gateways),
            mtu=mtu,
        )
