"""Bridges of the host: making, the sysctls they need, removing."""

from __future__ import annotations

import errno
import fcntl
import socket
from collections.abc import Iterable

from ketch.errors import KetchError, Unavailable, errno_text
from ketch.linux import links
from ketch.network.pool import mac_of

NAME_LIMIT = 15  # IFNAMSIZ less the zero
_SIOCGIFINDEX = 0x8933  # netdevice(7)
_IFREQ_SIZE = 40


def ensure(name: str, address: str, mtu: int) -> None:
    """Make the bridge if it is missing, give it ``address`` (with prefix), bring it up.

    Turns on ``route_localnet`` of the bridge alone, so that ports published on 127.0.0.1 work
    (ip-sysctl.rst); the firewall keeps containers off the host's loopback. Turns its IPv6 off, so
    that no container can announce itself to the host as a router. Raises ``Unavailable``.
    """
    if len(name.encode()) > NAME_LIMIT:
        raise KetchError(f"the bridge name {name} is too long: at most {NAME_LIMIT} bytes")
    try:
        links.make_bridge(name, (address,), mtu, mac_of(address.partition("/")[0]))
        links.disable_ipv6(name)
        _write(f"/proc/sys/net/ipv4/conf/{name}/route_localnet", "1")
    except OSError as error:
        reason = error.strerror or error
        if error.errno == errno.EOPNOTSUPP:
            reason = "there is an interface of this name that is no bridge"
        raise Unavailable(f"cannot set up the bridge {name}: {reason}") from None


def exists(name: str) -> bool:
    """Whether there is an interface of this name; OSError when there is no file to look with."""
    if len(name.encode()) > NAME_LIMIT:
        return False
    request = name.encode().ljust(_IFREQ_SIZE, b"\0")
    with socket.socket(socket.AF_INET, socket.SOCK_DGRAM | socket.SOCK_CLOEXEC) as asking:
        try:
            fcntl.ioctl(asking, _SIOCGIFINDEX, request)
        except OSError as error:
            if error.errno == errno.ENODEV:
                return False
            raise
    return True


def remake(name: str, address: str, mtu: int, ports: Iterable[str]) -> None:
    """Make a bridge again that somebody removed, with the host ends that were on it.

    Raises ``Unavailable``; what has no host end any more is left out.
    """
    ensure(name, address, mtu)
    for port in ports:
        try:
            links.enslave(port, name)
        except OSError as error:
            if error.errno != errno.ENODEV:
                raise Unavailable(f"cannot put {port} on {name}: {errno_text(error)}") from None


def remove(name: str) -> None:
    """Remove a bridge; slow, so never where somebody waits; no error when it is gone."""
    try:
        links.unplug(name)
    except OSError as error:
        raise Unavailable(f"cannot remove the bridge {name}: {errno_text(error)}") from None


def enable_forwarding() -> None:
    """Let the host forward IPv4 packets, if it does not yet (net.ipv4.ip_forward)."""
    path = "/proc/sys/net/ipv4/ip_forward"
    with open(path) as file:
        if file.read().strip() == "1":
            return
    try:
        _write(path, "1")
    except OSError as error:
        raise Unavailable(f"cannot enable IP forwarding: {errno_text(error)}") from None


def _write(path: str, text: str) -> None:
    with open(path, "w") as file:
        file.write(text)
