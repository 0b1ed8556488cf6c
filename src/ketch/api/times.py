"""Instants in Docker's two ways of writing them: RFC 3339 with nanoseconds, and Unix seconds."""

from __future__ import annotations

import re
import time
from datetime import UTC, datetime, timedelta
from functools import lru_cache

from ketch.errors import InvalidParameter

SECOND = 1_000_000_000
ZERO = "0001-01-01T00:00:00Z"
"""How Go prints an instant that was never set."""

_UNIX = re.compile(r"(-?\d{1,12})(?:\.(\d{1,9}))?")
_RFC3339 = re.compile(
    r"(\d{4}-\d\d-\d\d)(?:T(\d\d:\d\d(?::\d\d)?)(?:\.(\d{1,9}))?(Z|[+-]\d\d:\d\d)?)?"
)
_DURATION_PART = re.compile(r"(\d+(?:\.\d*)?|\.\d+)(h|ms|m|s|us|µs|ns)")
_UNIT = {"h": 3600.0, "m": 60.0, "s": 1.0, "ms": 1e-3, "us": 1e-6, "µs": 1e-6, "ns": 1e-9}


def rfc3339(instant: int) -> str:
    """``2026-01-02T03:04:05.6Z`` of ns since the epoch: UTC, trailing zeros dropped."""
    return ZERO if instant <= 0 else rfc3339_of_file(instant)


def rfc3339_of_file(instant: int) -> str:
    """Like ``rfc3339`` of a time that is always set: 0 is the epoch, and there is a time before."""
    seconds, nanos = divmod(instant, SECOND)
    fraction = f"{nanos:09d}".rstrip("0")
    return f"{_whole(seconds)}.{fraction}Z" if fraction else f"{_whole(seconds)}Z"


@lru_cache(64)  # the lines of a log share their seconds
def _whole(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def rfc3339_fixed(instant: int) -> str:
    """Like ``rfc3339`` with all nine digits, so that the lines of a log are as wide."""
    seconds, nanos = divmod(instant, SECOND)
    return f"{_whole(seconds)}.{nanos:09d}Z"


def rfc3339_seconds(instant: int) -> str:
    """Like ``rfc3339`` without the fraction."""
    return rfc3339(instant - instant % SECOND)


def parse(text: str, name: str) -> int:
    """An instant of a query (``since``, ``until``) as ns since the epoch; "" is 0.

    Takes Unix seconds with a fraction, RFC 3339 (a missing zone is UTC), and a Go duration
    (``10m``), which counts back from now. Raises ``InvalidParameter`` naming the parameter.
    """
    if not text or text == "0":
        return 0
    for reader in (_from_unix, _from_duration, _from_rfc3339):
        instant = reader(text)
        if instant is not None:
            return instant
    raise InvalidParameter(
        f'invalid value for {name!r}: invalid timestamp "{text}": give Unix seconds, a duration '
        "such as 10m, or RFC 3339"
    )


def _from_unix(text: str) -> int | None:
    match = _UNIX.fullmatch(text)
    if match is None:
        return None
    return int(match[1]) * SECOND + int((match[2] or "").ljust(9, "0"))


def _from_duration(text: str) -> int | None:
    seconds = duration(text)
    return None if seconds is None else time.time_ns() - int(seconds * SECOND)


def duration(text: str) -> float | None:
    """Seconds of a Go duration (``1h30m``, ``1.5s``); None when it is none."""
    total, end = 0.0, 0
    for match in _DURATION_PART.finditer(text):
        if match.start() != end:
            return None
        total += float(match[1]) * _UNIT[match[2]]
        end = match.end()
    return total if end and end == len(text) and total < 1e12 else None


def _from_rfc3339(text: str) -> int | None:
    match = _RFC3339.fullmatch(text)
    if match is None:
        return None
    day, clock, fraction, zone = match[1], match[2] or "00:00:00", match[3] or "", match[4] or "Z"
    try:
        moment = datetime.fromisoformat(f"{day}T{clock}{zone.replace('Z', '+00:00')}")
    except ValueError:
        return None
    seconds = (moment - datetime(1970, 1, 1, tzinfo=UTC)) // timedelta(seconds=1)
    return seconds * SECOND + int(fraction.ljust(9, "0"))
