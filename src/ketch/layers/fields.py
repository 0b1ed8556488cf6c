"""Numbers and records inside tar headers.

Sources: POSIX.1-2017 pax ("ustar Interchange Format", "pax Extended Header"); GNU tar manual
("Basic Tar Format", base-256 numbers).
"""

from __future__ import annotations

from ketch.errors import DataCorrupt

MAX_SIZE = 2**63 - 1
_SECOND = 1_000_000_000


def number(field: bytes, what: str) -> int:
    """A numeric header field: octal digits, or base-256 when the first bit is set.

    Raises ``DataCorrupt`` for anything else; an empty field is 0. May be negative (base-256).
    """
    if field[0] & 0x80:
        return _base256(field)
    text = field.split(b"\0", 1)[0].strip(b" ")
    if not text:
        return 0
    if not text.isdigit():
        raise DataCorrupt(f"tar header: {what} is not a number")
    try:
        return int(text, 8)
    except ValueError:
        raise DataCorrupt(f"tar header: {what} is not octal") from None


def _base256(field: bytes) -> int:
    value = int.from_bytes(field, "big")
    bits = 8 * len(field)
    if field[0] & 0x40:
        return value - (1 << bits)
    return value - (1 << (bits - 1))


def decimal(value: bytes, what: str) -> int:
    """A non-negative decimal number of a PAX record."""
    if not value.isdigit() or len(value) > 20:
        raise DataCorrupt(f"tar extended header: {what} is not a number")
    return int(value)


def timestamp(value: bytes) -> int:
    """A PAX time, ``[-]seconds[.fraction]``, in nanoseconds; digits past the ninth are cut."""
    negative = value.startswith(b"-")
    text = value[1:] if negative else value
    whole, _, fraction = text.partition(b".")
    if not whole.isdigit() or len(whole) > 19 or (fraction and not fraction.isdigit()):
        raise DataCorrupt("tar extended header: mtime is not a number")
    nanoseconds = int(whole) * _SECOND + int(fraction[:9].ljust(9, b"0"))
    return -nanoseconds if negative else nanoseconds


def records(body: bytes) -> list[tuple[bytes, bytes]]:
    """The ``length key=value\\n`` records of a PAX extended header."""
    found = []
    position = 0
    while position < len(body):
        space = body.find(b" ", position, position + 21)
        digits = body[position:space] if space > 0 else b""
        end = position + int(digits) if digits.isdigit() else -1
        if not position <= space < end <= len(body) or body[end - 1] != 0x0A:
            raise DataCorrupt("tar extended header: a record has a wrong length")
        key, equals, value = body[space + 1 : end - 1].partition(b"=")
        if not equals or not key:
            raise DataCorrupt("tar extended header: a record is not key=value")
        found.append((key, value))
        position = end
    return found


def record(key: bytes, value: bytes) -> bytes:
    """One PAX record; its length counts its own digits."""
    rest = len(key) + len(value) + 3
    length = rest + len(str(rest))
    if rest + len(str(length)) != length:
        length = rest + len(str(length))
    return b"%d %s=%s\n" % (length, key, value)
