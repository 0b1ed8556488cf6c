"""Values of the network service."""

from __future__ import annotations

from collections.abc import Iterable

import msgspec

from ketch.engine.containers.record import Endpoint, PortBinding
from ketch.links import Link
from ketch.network.firewall import Forward
from ketch.network.ports import EVERY_IPV4, is_ipv6


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual network."""

    id: str
    name: str
    driver: str = "bridge"
    created_at: int = 0
    internal: bool = False
    attachable: bool = False
    enable_ipv6: bool = False
    subnets: tuple[tuple[str, str], ...] = ()  # (CIDR, gateway)
    bridge: str = ""
    ip_range: str = ""  # where addresses are chosen, a part of the subnet
    reserved: dict[str, str] = {}  # name → address that nobody is given
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class NetworkSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A network asked for; ``subnets`` are (CIDR, gateway) pairs, gateway "" = the first."""

    name: str
    driver: str = "bridge"
    internal: bool = False
    attachable: bool = False
    enable_ipv6: bool = False
    subnets: tuple[tuple[str, str], ...] = ()
    ip_range: str = ""  # where addresses are chosen, a part of the subnet
    reserved: dict[str, str] = {}  # name → address that nobody is given
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class NetworkConfig(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon's configuration decides: ``bip`` "" chooses a free subnet."""

    bridge: str = "ketch0"
    bip: str = ""
    mtu: int = 0
    nft_table: str = "ketch"
    pools: tuple[tuple[str, int], ...] = ()
    ip_forward: bool = True


class WarmLease:
    """An address and a link that a warm sandbox already has."""

    __slots__ = ("endpoint", "link")

    def __init__(self, link: Link, endpoint: Endpoint) -> None:
        self.link = link
        self.endpoint = endpoint


class Connection:
    """What a container got: its link (None: no namespace of its own), endpoints, ports."""

    __slots__ = ("endpoints", "link", "ports")

    def __init__(
        self,
        link: Link | None = None,
        endpoints: tuple[Endpoint, ...] = (),
        ports: tuple[PortBinding, ...] = (),
    ) -> None:
        self.link = link
        self.endpoints = endpoints
        self.ports = ports


class Member(msgspec.Struct, frozen=True, kw_only=True):
    """A container in a network, for inspect."""

    container_id: str
    name: str
    endpoint: Endpoint


class Stored(msgspec.Struct, frozen=True, kw_only=True):
    """What a container holds, kept so that a killed daemon's successor knows it."""

    endpoints: tuple[Endpoint, ...] = ()
    ports: tuple[PortBinding, ...] = ()
    name: str = ""

    def forwards(self) -> list[Forward]:
        """Its published ports as the firewall sees them."""
        return forwards(self.endpoints, self.ports)


def forwards(endpoints: Iterable[Endpoint], ports: Iterable[PortBinding]) -> list[Forward]:
    """Published ports as the firewall sees them; they lead to the first address.

    Without those on IPv6 addresses of the host, which no rule can lead to an IPv4 address.
    """
    address = next((endpoint.ipv4 for endpoint in endpoints if endpoint.ipv4), "")
    return [
        Forward(
            port.protocol,
            "" if port.host_ip == EVERY_IPV4 else port.host_ip,
            port.host_port,
            address,
            port.container_port,
        )
        for port in ports
        if address and not is_ipv6(port.host_ip)
    ]
