"""Address management of one subnet: allocation, release, static addresses.

Addresses are given out in turn and a released one comes back only after the whole subnet was used:
a neighbour's ARP entry or a connection tracked for the last owner would meet the next one else.
State lives in memory; who holds an address records it (``ketch.engine.networks.networks``).
"""

from __future__ import annotations

import ipaddress
from collections.abc import Iterable

from ketch.errors import Conflict, Forbidden, InvalidParameter


class AddressPool:
    """The addresses of one subnet; the gateway's is taken from the beginning, as are those of
    ``reserved``. Addresses are chosen in ``ip_range``, a part of the subnet, whose first is the
    gateway's unless that is given; static ones may be anywhere."""

    def __init__(
        self,
        subnet: str,
        gateway: str = "",
        ip_range: str = "",
        reserved: Iterable[str] = (),
    ) -> None:
        try:
            self.subnet = ipaddress.IPv4Network(subnet, strict=False)
        except ValueError as error:
            raise InvalidParameter(f"invalid subnet {subnet}: {error}") from None
        self._first = int(self.subnet.network_address)
        self._size = self.subnet.num_addresses
        if self._size < 4:
            raise InvalidParameter(f"subnet {subnet} is too small: it has no room for containers")
        self._lowest, self._end = self._bounds(ip_range)
        self.gateway = gateway or self._address(max(1, self._lowest))
        self._kept = {0, self._size - 1, self._offset(self.gateway)}
        for address in reserved:
            self._keep(address)
        self._taken = set(self._kept)
        self._next = max(2, self._lowest) if self._end > 2 else self._lowest

    def _bounds(self, ip_range: str) -> tuple[int, int]:
        """The first offset of the range, and the one behind its last."""
        if not ip_range:
            return 0, self._size
        try:
            part = ipaddress.IPv4Network(ip_range, strict=False)
        except ValueError as error:
            raise InvalidParameter(f"invalid ip-range {ip_range}: {error}") from None
        if not part.subnet_of(self.subnet):
            raise InvalidParameter(f"invalid ip-range {ip_range}: it is not in {self.subnet}")
        lowest = int(part.network_address) - self._first
        return lowest, lowest + part.num_addresses

    def _keep(self, address: str) -> None:
        offset = self._offset(address)
        if offset in self._kept:
            raise Conflict(f"Address already in use: {address}")
        self._kept.add(offset)

    @property
    def prefix(self) -> int:
        """Length of the subnet's prefix in bits."""
        return self.subnet.prefixlen

    def allocate(self) -> str:
        """The next free address; raises ``Forbidden`` when there is none."""
        room = self._end - self._lowest
        if len(self._taken) < self._size:
            for step in range(room):
                offset = self._lowest + (self._next - self._lowest + step) % room
                if offset not in self._taken:
                    self._taken.add(offset)
                    self._next = offset + 1
                    return self._address(offset)
        raise Forbidden(
            f"no available IPv4 addresses on this network's address pool: {self.subnet}"
        )

    def reserve(self, address: str) -> None:
        """Take one address; raises ``Conflict`` when it is taken, ``InvalidParameter`` outside."""
        offset = self._offset(address)
        if offset in self._taken:
            raise Conflict(f"Address already in use: {address}")
        self._taken.add(offset)

    def release(self, address: str) -> None:
        """Give an address back; giving back a free one is no error."""
        offset = self._offset(address)
        if offset not in self._kept:
            self._taken.discard(offset)

    def _offset(self, address: str) -> int:
        try:
            offset = int(ipaddress.IPv4Address(address)) - self._first
        except ValueError:
            raise InvalidParameter(f"invalid IPv4 address: {address}") from None
        if not 0 <= offset < self._size:
            raise InvalidParameter(
                f"no configured subnet contains IP address {address}: the subnet is {self.subnet}"
            )
        return offset

    def _address(self, offset: int) -> str:
        return str(ipaddress.IPv4Address(self._first + offset))


def mac_of(address: str) -> str:
    """The hardware address that belongs to an IPv4 address: 02:42 and its four bytes."""
    packed = ipaddress.IPv4Address(address).packed
    return "02:42:" + ":".join(f"{byte:02x}" for byte in packed)
