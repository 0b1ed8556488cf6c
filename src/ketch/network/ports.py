"""Host ports: which are free, and holding those that are published.

Rules of the kernel do the forwarding; a socket that listens and never accepts holds the port, so
that no other program takes it and a clash is seen at once. The sockets die with the daemon and are
bound again when it comes back.
"""

from __future__ import annotations

import errno
import ipaddress
import re
import socket

from ketch.errors import InvalidParameter, KetchError, Unsupported

FIRST_EPHEMERAL, LAST_EPHEMERAL = 32768, 60999  # net.ipv4.ip_local_port_range by default

_PORTS = re.compile(r"([0-9]{1,5}(-[0-9]{1,5})?)?")


class PortTaken(KetchError):
    """The port is in use; the message is what Docker says."""


def check(host_ip: str, host_port: str) -> None:
    """Raise for what is no IPv4 address (or empty), and no port or range (or empty).

    Raises ``InvalidParameter``, and ``Unsupported`` for an IPv6 address.
    """
    if host_ip:
        try:
            version = ipaddress.ip_address(host_ip).version
        except ValueError:
            raise InvalidParameter(f"invalid IP address to publish on: {host_ip!r}") from None
        if version == 6:
            raise Unsupported(f"publishing on the IPv6 address {host_ip} is not supported yet")
    if not _PORTS.fullmatch(host_port):
        raise InvalidParameter(f"invalid port specification: {host_port!r}")
    first, _, last = host_port.partition("-")
    if not int(first or 0) <= int(last or first or 0) <= 65535:
        raise InvalidParameter(f"invalid range of ports: {host_port}")


class HostPorts:
    """The ports held, by (protocol, address, port)."""

    def __init__(self) -> None:
        self._held: dict[tuple[str, str, int], socket.socket] = {}
        self._next = FIRST_EPHEMERAL

    def hold(self, protocol: str, address: str, wanted: str) -> int:
        """Hold ``wanted`` ("8080"), the first free of a range ("8000-8010"), or any ("" or "0").

        Returns the port; raises ``PortTaken``.
        """
        if wanted in ("", "0"):
            return self._hold_any(protocol, address)
        first, _, last = wanted.partition("-")
        for port in range(int(first), int(last or first) + 1):
            if self._try(protocol, address, port):
                return port
        where = f"{address or '0.0.0.0'}:{wanted}"
        raise PortTaken(f"Bind for {where} failed: port is already allocated")

    def release(self, protocol: str, address: str, port: int) -> None:
        """Let a port go; letting go of one that is not held is no error."""
        held = self._held.pop((protocol, address, port), None)
        if held is not None:
            held.close()

    def close(self) -> None:
        """Let all go."""
        for held in self._held.values():
            held.close()
        self._held.clear()

    def _hold_any(self, protocol: str, address: str) -> int:
        count = LAST_EPHEMERAL - FIRST_EPHEMERAL + 1
        for _ in range(count):
            port = self._next
            self._next = FIRST_EPHEMERAL + (port + 1 - FIRST_EPHEMERAL) % count
            if self._try(protocol, address, port):
                return port
        raise PortTaken(f"no free port on {address or '0.0.0.0'}")

    def _try(self, protocol: str, address: str, port: int) -> bool:
        key = (protocol, address, port)
        others = (other for other in self._held if other[0] == protocol and other[2] == port)
        if any(not address or not other[1] or other[1] == address for other in others):
            return False
        try:
            self._held[key] = _bound(protocol, address, port)
        except OSError as error:
            if error.errno in (errno.EADDRINUSE, errno.EACCES):
                return False
            raise PortTaken(
                f"Bind for {address or '0.0.0.0'}:{port} failed: {error.strerror}"
            ) from None
        return True


def _bound(protocol: str, address: str, port: int) -> socket.socket:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET, kind | socket.SOCK_CLOEXEC)
    try:
        if protocol == "tcp":
            sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)  # over TIME_WAIT
        sock.bind((address, port))
        if protocol == "tcp":
            sock.listen(1)
    except BaseException:
        sock.close()
        raise
    return sock
