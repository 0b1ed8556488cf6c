"""Addresses that nobody on this machine has: other runs of the tests have engines of their own."""

from __future__ import annotations

import secrets
import socket
import subprocess


def free_octet(*prefixes: str) -> int:
    """An N so that no interface has an address in any ``prefix.N.0/24``; prefixes as ``10.1``."""
    shown = subprocess.run(
        ["ip", "-4", "-o", "address", "show"], capture_output=True, text=True, check=True
    ).stdout
    return secrets.choice(
        [n for n in range(1, 255) if not any(f" {prefix}.{n}." in shown for prefix in prefixes)]
    )


def free_port() -> int:
    """A TCP port of the loopback that nobody listens on."""
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        return int(probe.getsockname()[1])
