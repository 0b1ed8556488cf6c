"""Log entries as values."""

from __future__ import annotations

import calendar
import time
from collections.abc import Mapping, Sequence
from types import MappingProxyType

import msgspec

NO_ATTRS: Mapping[str, str] = MappingProxyType({})


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """Lines with their newlines that were logged at one instant, or a piece of a long line.

    ``time`` in ns since the epoch. Lines that were written together come together. ``texts`` are
    the lines of ``data`` without their newlines, if the reader had them in hand.
    """

    time: int
    stream: str
    data: bytes
    attrs: Mapping[str, str] = NO_ATTRS
    texts: Sequence[bytes] = ()

    def lines(self) -> list[bytes]:
        """One by one, with their newlines."""
        if b"\r" not in self.data:  # which would end lines here as well
            return self.data.splitlines(True)
        lines = [line + b"\n" for line in self.data.split(b"\n")]
        last = lines.pop()[:-1]
        return [*lines, last] if last else lines


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: the last ``tail`` lines (-1 = all), and of these those from ``since`` to
    ``until``.

    Both instants in ns since the epoch, inclusive, 0 = no bound. The tail is counted first, over
    both streams, as Docker does.
    """

    since: int = 0
    until: int = 0
    tail: int = -1


def parse_instant(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 text in UTC; raises ValueError."""
    seconds, fraction = _seconds(text[:19]), text[20:-1]
    if not fraction and text[19:] == "Z":
        return seconds * 1_000_000_000
    if not text.endswith("Z") or text[19] != "." or not fraction.isdecimal() or len(fraction) > 9:
        raise ValueError(f"{text!r} is no instant in UTC")
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))


_last_second = ("", 0)


def _seconds(text: str) -> int:
    global _last_second
    if _last_second[0] != text:
        _last_second = (text, calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S")))
    return _last_second[1]
