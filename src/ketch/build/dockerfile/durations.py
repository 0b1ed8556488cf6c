"""Durations as Go's time.ParseDuration reads them (``1h2m3.5s``, ``100ms``), in nanoseconds."""

from __future__ import annotations

import re
from decimal import Decimal

_UNITS = {
    "ns": 1,
    "us": 1_000,
    "µs": 1_000,
    "μs": 1_000,
    "ms": 1_000_000,
    "s": 1_000_000_000,
    "m": 60_000_000_000,
    "h": 3_600_000_000_000,
}
_PART = re.compile(r"([0-9]{1,18}(?:\.[0-9]{0,18})?|\.[0-9]{1,18})(ns|us|µs|μs|ms|s|m|h)")
_MAX = 2**63 - 1


def parse_duration(text: str) -> int:
    """Raises ValueError for what is not a duration, negative, or longer than 292 years."""
    if text == "0":
        return 0
    total = position = 0
    while position < len(text) and (match := _PART.match(text, position)):
        total += int(Decimal(match[1]) * _UNITS[match[2]])
        position = match.end()
    if not text or position != len(text) or total > _MAX:
        raise ValueError(f"invalid duration {text!r}: write it like 30s, 1m30s or 500ms")
    return total


def format_duration(nanoseconds: int) -> str:
    """Back to text, as Go prints it: ``1m30s``, ``500ms``, ``0s``."""
    if nanoseconds < 1_000_000_000:
        for unit in ("ms", "µs"):
            if nanoseconds >= _UNITS[unit]:
                return f"{_decimal(nanoseconds, _UNITS[unit])}{unit}"
        return f"{nanoseconds}ns" if nanoseconds else "0s"
    minutes, rest = divmod(nanoseconds, _UNITS["m"])
    hours, minutes = divmod(minutes, 60)
    text = f"{hours}h" if hours else ""
    text += f"{minutes}m" if hours or minutes else ""
    return text + f"{_decimal(rest, _UNITS['s'])}s"


def _decimal(value: int, unit: int) -> str:
    whole, rest = divmod(value, unit)
    if not rest:
        return str(whole)
    digits = len(str(unit)) - 1
    return f"{whole}.{rest:0{digits}d}".rstrip("0")
