"""Instants as people read and write them (Go's layouts, docker's ``--since``)."""

import time

from ketch.cli.flags import Failure


def local(epoch: float) -> str:
    """``2026-11-28 18:03:55 +0000 UTC`` in the user's own zone."""
    parts = time.localtime(epoch)
    return time.strftime("%Y-%m-%d %H:%M:%S ", parts) + _zone(parts)


def _zone(parts: "time.struct_time") -> str:
    return f"{time.strftime('%z', parts)} {time.strftime('%Z', parts)}"


def split(text: str) -> "tuple[int, int]":
    """(seconds since the epoch, nanoseconds) of an RFC 3339 instant; (0, 0) for Go's zero time."""
    import calendar

    if not text or text.startswith("0001-"):
        return 0, 0
    fields = [int(part) for part in text[:10].split("-") + text[11:19].split(":")]
    rest = text[19:]
    fraction = ""
    if rest.startswith("."):
        fraction = rest[1:].rstrip("Z")
        for mark in "+-":
            fraction = fraction.partition(mark)[0]
        rest = rest[1 + len(fraction) :]
    seconds = calendar.timegm((*fields, 0, 0, 0))
    if rest[:1] in ("+", "-") and len(rest) >= 6:
        shift = int(rest[1:3]) * 3600 + int(rest[4:6]) * 60
        seconds -= shift if rest[0] == "+" else -shift
    return seconds, int(fraction[:9].ljust(9, "0") or 0)


def spelled(text: str) -> str:
    """An RFC 3339 instant as Go's ``Time.String`` prints it, in UTC: no trailing zeros."""
    seconds, nanos = split(text)
    fraction = f".{nanos:09d}".rstrip("0") if nanos else ""
    return time.strftime("%Y-%m-%d %H:%M:%S", time.gmtime(seconds)) + fraction + " +0000 UTC"


def rfc3339(epoch: int, nanos: "int | None" = None) -> str:
    """An instant in the user's own zone; with nine digits of a second when ``nanos`` is given."""
    parts = time.localtime(epoch)
    offset = time.strftime("%z", parts)
    zone = "Z" if nanos is None and offset == "+0000" else f"{offset[:3]}:{offset[3:]}"
    if zone == "+00:00":
        zone = "Z"
    fraction = "" if nanos is None else f".{nanos:09d}"
    return time.strftime("%Y-%m-%dT%H:%M:%S", parts) + fraction + zone


def asked(text: str, flag: str = "") -> "str | None":
    """``--since`` and ``--until``: Unix seconds of an instant, a number, or a duration back.

    None for an empty text. Raises ``Failure`` with Docker's words.
    """
    if not text:
        return None
    if text.replace(".", "", 1).isdigit():
        return text
    from ketch.cli.flag_values import duration

    try:
        nanos = duration(text)
    except ValueError:
        return _of_date(text, flag)
    return f"{time.time() - nanos / 1e9:.9f}"


def _of_date(text: str, flag: str) -> str:
    from datetime import datetime

    try:
        moment = datetime.fromisoformat(text)
    except ValueError:
        why = f'failed to parse value as time or duration: "{text}"'
        raise Failure(f'invalid value for "{flag}": {why}' if flag else why) from None
    return f"{moment.timestamp():.9f}"
