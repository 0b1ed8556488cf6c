"""Address management of one subnet: allocation, release, static addresses.

Addresses are given out in turn and a released one comes back only after the whole subnet was used:
a neighbour's ARP entry or a connection tracked for the last owner would meet the next one else.
State lives in memory; who holds an address records it (``ketch.engine.networks.networks``).
"""

from __future__ import annotations

import ipaddress

from ketch.errors import Conflict, Forbidden, InvalidParameter


class AddressPool:
    """The addresses of one subnet; the gateway's is taken from the beginning."""

    def __init__(self, subnet: str, gateway: str = "") -> None:
        try:
            self.subnet = ipaddress.IPv4Network(subnet, strict=False)
        except ValueError as error:
            raise InvalidParameter(f"invalid subnet {subnet}: {error}") from None
        self._first = int(self.subnet.network_address)
        self._size = self.subnet.num_addresses
        if self._size < 4:
            raise InvalidParameter(f"subnet {subnet} is too small: it has no room for containers")
        self.gateway = gateway or str(self.subnet.network_address + 1)
        self._taken = {0, self._size - 1, self._offset(self.gateway)}
        self._next = 2

    @property
    def prefix(self) -> int:
        """Length of the subnet's prefix in bits."""
        return self.subnet.prefixlen

    def allocate(self) -> str:
        """The next free address; raises ``Forbidden`` when there is none."""
        if len(self._taken) >= self._size:
            raise Forbidden(
                f"no available IPv4 addresses on this network's address pool: {self.subnet}"
            )
        while self._next in self._taken:
            self._next = (self._next + 1) % self._size
        offset = self._next
        self._taken.add(offset)
        self._next = (offset + 1) % self._size
        return self._address(offset)

    def reserve(self, address: str) -> None:
        """Take one address; raises ``Conflict`` when it is taken, ``InvalidParameter`` outside."""
        offset = self._offset(address)
        if offset in self._taken:
            raise Conflict(f"Address already in use: {address}")
        self._taken.add(offset)

    def release(self, address: str) -> None:
        """Give an address back; giving back a free one is no error."""
        offset = self._offset(address)
        if offset not in (0, self._size - 1, self._offset(self.gateway)):
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
