"""Host ports: which are free, and holding those that are published.

On IPv4 addresses rules of the kernel do the forwarding; a socket that listens and never accepts
holds the port, so that no other program takes it and a clash is seen at once. These sockets die
with the daemon and are bound again when it comes back. On IPv6 addresses the container's
supervisor carries the data: it gets the socket, and keeps it while the container runs.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket
from collections.abc import Collection, Sequence

from ketch.errors import InvalidParameter, KetchError, errno_text

FIRST_EPHEMERAL, LAST_EPHEMERAL = 32768, 60999  # net.ipv4.ip_local_port_range by default

Key = tuple[str, str, int]
"""Protocol, address, port."""

EVERY_IPV4, EVERY_IPV6 = "0.0.0.0", "::"
_BACKLOG = 4096  # as much as net.core.somaxconn lets wait
_PORTS = re.compile(r"([0-9]{1,5}(-[0-9]{1,5})?)?")


ALLOCATED = "port is already allocated"


class PortTaken(KetchError):
    """A port cannot be held: another container has it (``ALLOCATED``), or what bind(2) said."""

    def __init__(self, where: str, reason: str) -> None:
        super().__init__(f"Bind for {where} failed: {reason}")
        self.where = where
        self.reason = reason

    def told(self, target: str) -> str:
        """What Docker 28 says; ``target`` is the container's address, port and protocol."""
        if self.reason == ALLOCATED:
            return str(self)
        return f"failed to bind host port for {self.where}:{target}: {self.reason}"


def check(host_ip: str, host_port: str) -> None:
    """Raise for what is no IP address (or empty), and no port or range (or empty).

    Raises ``InvalidParameter``.
    """
    if host_ip:
        try:
            address = ipaddress.ip_address(host_ip)
        except ValueError:
            raise InvalidParameter(f"invalid IP address to publish on: {host_ip!r}") from None
        if getattr(address, "scope_id", None):
            raise InvalidParameter(f"an address to publish on has no zone: {host_ip!r}")
    if not _PORTS.fullmatch(host_port):
        raise InvalidParameter(f"invalid port specification: {host_port!r}")
    first, _, last = host_port.partition("-")
    if not int(first or 0) <= int(last or first or 0) <= 65535:
        raise InvalidParameter(f"invalid range of ports: {host_port}")


def addresses_of(host_ip: str) -> tuple[str, ...]:
    """The addresses of the host that publishing on ``host_ip`` means; empty is all of them.

    Of IPv6 only if the host has it, as with Docker; an address that was asked for stays.
    """
    if not host_ip:
        return (EVERY_IPV4, EVERY_IPV6) if _has_ipv6() else (EVERY_IPV4,)
    address = ipaddress.ip_address(host_ip)
    mapped = address.ipv4_mapped if isinstance(address, ipaddress.IPv6Address) else None
    return (str(mapped or address),)


def is_ipv6(address: str) -> bool:
    """Whether an address is one of IPv6."""
    return ":" in address


def is_ipv4(text: str) -> bool:
    """Whether a text is an address of IPv4."""
    try:
        ipaddress.IPv4Address(text)
    except ValueError:
        return False
    return True


class HostPorts:
    """The ports held.

    Those whose socket somebody else has (``handed_over``) have none here.
    """

    def __init__(self) -> None:
        self._held: dict[Key, socket.socket | None] = {}
        self._next = FIRST_EPHEMERAL

    def hold(
        self, protocol: str, addresses: Sequence[str], wanted: str, lent: Collection[Key] = ()
    ) -> int:
        """Hold ``wanted`` ("8080"), the first free of a range ("8000-8010"), or any ("" or "0").

        It is the same port on all ``addresses``. The sockets of ``lent`` ports are with somebody
        who gives them to whoever holds the port. Returns it; raises ``PortTaken``.
        """
        if wanted in ("", "0"):
            return self._hold_any(protocol, addresses)
        first, _, last = wanted.partition("-")
        taken, reason = addresses[0], ALLOCATED
        for port in range(int(first), int(last or first) + 1):
            refused = self._try_all(protocol, addresses, port, lent)
            if refused is None:
                return port
            taken, reason = refused
        raise PortTaken(f"{taken}:{wanted}", reason)

    def hold_again(self, protocol: str, address: str, port: int) -> None:
        """Hold what a daemon before this one published.

        A port of IPv6 that is taken is held by its container's supervisor. Raises ``PortTaken``.
        """
        try:
            self.hold(protocol, (address,), str(port))
        except PortTaken:
            if not is_ipv6(address):
                raise
            self._held.setdefault((protocol, address, port), None)

    def is_held(self, protocol: str, address: str, port: int) -> bool:
        """Whether a port is held, wherever its socket is."""
        return (protocol, address, port) in self._held

    def socket_of(self, protocol: str, address: str, port: int) -> socket.socket | None:
        """What holds a port; None when somebody else has it."""
        return self._held.get((protocol, address, port))

    def handed_over(self, protocol: str, address: str, port: int) -> None:
        """Somebody else has the socket of a port that is held."""
        held = self._held.get((protocol, address, port))
        if held is not None:
            held.close()
            self._held[(protocol, address, port)] = None

    def release(self, protocol: str, address: str, port: int) -> None:
        """Let a port go; letting go of one that is not held is no error."""
        held = self._held.pop((protocol, address, port), None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Let all go."""
        for held in self._held.values():
            if held is not None:
                held.close()
        self._held.clear()

    def _hold_any(self, protocol: str, addresses: Sequence[str]) -> int:
        count = LAST_EPHEMERAL - FIRST_EPHEMERAL + 1
        for _ in range(count):
            port = self._next
            self._next = FIRST_EPHEMERAL + (port + 1 - FIRST_EPHEMERAL) % count
            if self._try_all(protocol, addresses, port) is None:
                return port
        raise PortTaken(addresses[0], "no port is free")

    def _try_all(
        self, protocol: str, addresses: Sequence[str], port: int, lent: Collection[Key] = ()
    ) -> tuple[str, str] | None:
        """Hold the port on all addresses, or on none; where it is taken, and why."""
        held: list[str] = []
        try:
            for address in addresses:
                reason = self._try((protocol, address, port), lent)
                if reason:
                    return address, reason
                held.append(address)
            held.clear()
        finally:
            for address in held:
                self.release(protocol, address, port)
        return None

    def _try(self, key: Key, lent: Collection[Key]) -> str:
        """Hold a port; why it is taken. Raises ``PortTaken`` when another would be no better."""
        protocol, address, port = key
        others = (other[1] for other in self._held if (other[0], other[2]) == (protocol, port))
        if any(overlap(other, address) for other in others):
            return ALLOCATED
        try:
            self._held[key] = None if key in lent else _bound(protocol, address, port)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return errno_text(error)
            raise PortTaken(f"{address}:{port}", errno_text(error)) from None
        return ""


def overlap(one: str, other: str) -> bool:
    """Whether a port cannot be held on both addresses."""
    if is_ipv6(one) != is_ipv6(other):
        return False
    return one == other or not {one, other}.isdisjoint((EVERY_IPV4, EVERY_IPV6))


def _bound(protocol: str, address: str, port: int) -> socket.socket:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    family = socket.AF_INET6 if is_ipv6(address) else socket.AF_INET
    sock = socket.socket(family, kind | socket.SOCK_CLOEXEC)
    try:
        if family == socket.AF_INET6:
            sock.setsockopt(socket.IPPROTO_IPV6, socket.IPV6_V6ONLY, 1)
        if protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # over TIME_WAIT
        sock.bind((address, port))
        if protocol == "tcp":
            sock.listen(_BACKLOG if family == socket.AF_INET6 else 1)
    except BaseException:
        sock.close()
        raise
    return sock


def _has_ipv6() -> bool:
    """Whether the host can be reached by IPv6 at all: it may be built or switched off."""
    try:
        with socket.socket(socket.AF_INET6, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
            probe.bind(("::1", 0))
    except OSError:
        return False
    return True
