"""The ports of EXPOSE: what stands in the image's configuration for one word.

A word is a port or a range of ports, with a protocol if wanted; what ``docker run -p`` takes before
them, an address and a port of the host, is read as BuildKit reads it and says nothing.
"""

from __future__ import annotations

import ipaddress
import re
from contextlib import suppress

_PORTS = re.compile(r"(\d{1,5})(?:-(\d{1,5}))?", re.ASCII)
_PROTOCOLS = ("tcp", "udp", "sctp")
_HIGHEST = 65535


class BadPort(ValueError):
    """A word that EXPOSE can't have; says which part of it, and why."""


def exposed_ports(word: str) -> list[str]:
    """``port/protocol`` for each port of the word; raises ``BadPort``."""
    mapped, protocol_given, protocol = word.partition("/")
    host, _, text = mapped.rpartition(":")
    ports = _range(text)
    protocol = protocol.lower() if protocol_given and protocol else "tcp"
    if ports is None or protocol not in _PROTOCOLS:
        raise BadPort(
            f"invalid containerPort: {word}: write port, port/protocol or first-last, with a "
            f"number to {_HIGHEST} and tcp, udp or sctp"
        )
    if ":" in mapped:
        _check_host(host, text, len(ports))
    return [f"{port}/{protocol}" for port in ports]


def _check_host(host: str, text: str, count: int) -> None:
    address, has_address, port = host.rpartition(":")
    if has_address and address:
        bare = address.removeprefix("[").removesuffix("]") if address[0] == "[" else address
        if not _is_address(bare):
            raise BadPort(f"invalid IP address: {address}: EXPOSE takes the container's port alone")
    if not port:
        return
    ports = _range(port)
    if ports is None:
        raise BadPort(f"invalid hostPort: {port}: EXPOSE takes the container's port alone")
    if len(ports) != count and count != 1:
        raise BadPort(
            f"invalid ranges specified for container and host Ports: {text} and {port}: they "
            "have different lengths"
        )


def _is_address(text: str) -> bool:
    with suppress(ValueError):
        ipaddress.ip_address(text)
        return True
    return False


def _range(text: str) -> range | None:
    match = _PORTS.fullmatch(text)
    if match is None:
        return None
    first = int(match[1])
    last = int(match[2] or first)
    return range(first, last + 1) if first <= last <= _HIGHEST else None
