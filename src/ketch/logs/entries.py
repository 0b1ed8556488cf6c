"""Log entries as values, and the decoding of json-file records."""

from __future__ import annotations

import calendar
import time

import msgspec


class Entry(msgspec.Struct, frozen=True, kw_only=True):
    """One logged line with its newline, or a piece of a long one; ``time`` in ns (epoch)."""

    time: int
    stream: str
    data: bytes
    attrs: dict[str, str] = {}


class Selection(msgspec.Struct, frozen=True, kw_only=True):
    """Which entries: the last ``tail`` (-1 = all), and of these those from ``since`` to ``until``.

    Both instants in ns since the epoch, inclusive, 0 = no bound. The tail is counted first, over
    both streams, as Docker does.
    """

    since: int = 0
    until: int = 0
    tail: int = -1


class _Record(msgspec.Struct):
    time: str
    log: str = ""
    stream: str = "stdout"
    attrs: dict[str, str] = {}


_decode = msgspec.json.Decoder(_Record).decode


def parse_instant(text: str) -> int:
    """Nanoseconds since the epoch of an RFC 3339 text in UTC; raises ValueError."""
    if not text.endswith("Z") or len(text) < 20:
        raise ValueError(f"{text!r} is no instant in UTC")
    seconds = _seconds(text[:19])
    fraction = text[20:-1]
    if not fraction:
        return seconds * 1_000_000_000
    if text[19] != "." or not fraction.isdecimal() or len(fraction) > 9:
        raise ValueError(f"{text!r} has a bad fraction of a second")
    return seconds * 1_000_000_000 + int(fraction.ljust(9, "0"))


_last_second = ("", 0)


def _seconds(text: str) -> int:
    global _last_second
    if _last_second[0] != text:
        _last_second = (text, calendar.timegm(time.strptime(text, "%Y-%m-%dT%H:%M:%S")))
    return _last_second[1]


def decode(lines: list[bytes]) -> list[Entry]:
    """Entries of complete records; what is no record (torn by a power cut) is left out."""
    entries: list[Entry] = []
    for line in lines:
        try:
            record = _decode(line)
            instant = parse_instant(record.time)
        except (msgspec.MsgspecError, ValueError):
            continue
        entries.append(
            Entry(
                time=instant,
                stream=record.stream,
                data=record.log.encode("utf-8", "surrogatepass"),
                attrs=record.attrs,
            )
        )
    return entries
