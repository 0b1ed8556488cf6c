"""Addresses that nobody on this machine has: other runs of the tests have engines of their own."""

from __future__ import annotations

import secrets
import subprocess


def free_octet(*prefixes: str) -> int:
    """An N so that no interface has an address in any ``prefix.N.0/24``; prefixes as ``10.1``."""
    shown = subprocess.run(
        ["ip", "-4", "-o", "address", "show"], capture_output=True, text=True, check=True
    ).stdout
    return secrets.choice(
        [n for n in range(1, 255) if not any(f" {prefix}.{n}." in shown for prefix in prefixes)]
    )
