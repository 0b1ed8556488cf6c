"""Amounts of bytes as people write them in options: ``512m``, ``1.5GB``, ``1024``.

Powers of 1024, as Docker reads them (go-units, RAMInBytes).
"""

from __future__ import annotations

import re

from ketch.errors import InvalidParameter

_FORM = re.compile(r"(\d{1,18}(?:\.\d{1,9})?) ?([kmgtp]?)(?:i?b)?", re.IGNORECASE | re.ASCII)


def parse(text: str) -> int:
    """Bytes; raises ``InvalidParameter``."""
    match = _FORM.fullmatch(text.strip())
    number = float(match[1]) * 1024 ** "bkmgtp".index(match[2].lower() or "b") if match else -1
    if not 0 <= number < 1 << 62:
        raise InvalidParameter(f"invalid size: '{text[:40]}'")
    return int(number)
