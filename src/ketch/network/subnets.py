"""Choosing a subnet that nothing on the machine uses yet."""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable, Iterator

from ketch.errors import Forbidden

Subnet = ipaddress.IPv4Network

# Docker's order: 172.17/16 … 172.31/16, then 192.168.0/20 and up.
DEFAULT_POOLS: tuple[tuple[str, int], ...] = (
    *((f"172.{second}.0.0/16", 16) for second in range(17, 32)),
    ("192.168.0.0/16", 20),
)


def in_use(route_file: str = "/proc/net/route", *, without: str = "") -> list[Subnet]:
    """Destinations of the host's IPv4 routes (proc_net_route), default routes not counted.

    Routes of the interface ``without`` are left out: they are our own bridge's.
    """
    found = []
    with open(route_file) as file:
        for line in list(file)[1:]:
            fields = line.split()
            network = int.from_bytes(bytes.fromhex(fields[1]), "little")
            mask = int.from_bytes(bytes.fromhex(fields[7]), "little")
            if mask and fields[0] != without:
                found.append(ipaddress.IPv4Network((network, mask.bit_count()), strict=False))
    return found


def candidates(pools: Iterable[tuple[str, int]]) -> Iterator[Subnet]:
    """The subnets of (base, prefix) pools, in order."""
    for base, prefix in pools:
        yield from ipaddress.IPv4Network(base).subnets(new_prefix=prefix)


def choose(taken: Iterable[Subnet], pools: Iterable[tuple[str, int]] = ()) -> Subnet:
    """The first subnet of the pools that overlaps none of ``taken``.

    Raises ``Forbidden`` when all are used, in Docker's words.
    """
    used = list(taken)
    for subnet in candidates(tuple(pools) or DEFAULT_POOLS):
        if not any(subnet.overlaps(other) for other in used):
            return subnet
    raise Forbidden(
        "all predefined address pools have been fully subnetted: give --subnet, or more"
        " default-address-pools"
    )
