"""A tar writer: ustar headers, PAX records only where ustar can't say it.

The same entries give the same bytes: no time of writing, no user names, sorted records. Extended
attributes are written as ``SCHILY.xattr.``, times below a second as PAX ``mtime``.
"""

from __future__ import annotations

import os
import stat
from typing import BinaryIO

from ketch.layers.entry import NO_DEVICE, Entry
from ketch.layers.fields import record

BLOCK = 512
_SECOND = 1_000_000_000
_OCTAL_SIZE = 8**11
_OCTAL_ID = 8**7
_TYPES = {
    stat.S_IFREG: b"0",
    stat.S_IFLNK: b"2",
    stat.S_IFCHR: b"3",
    stat.S_IFBLK: b"4",
    stat.S_IFDIR: b"5",
    stat.S_IFIFO: b"6",
}
_PIECE = 1 << 20


class TarWriter:
    """Writes entries to ``out`` one after another; ``finish`` ends the archive."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self.entries = 0

    def add(self, entry: Entry, fd: int = -1) -> None:
        """Append an entry; a regular file's content is read from ``fd``.

        Exactly ``entry.size`` bytes are written: a file that grows meanwhile is cut, one that
        shrinks is filled up with zeros, as other archivers do.
        """
        self._out.write(headers(entry))
        self.entries += 1
        if entry.is_file and entry.size:
            self._content(fd, entry.size)

    def _content(self, fd: int, size: int) -> None:
        left = size
        while left and (data := os.read(fd, min(left, _PIECE))):
            self._out.write(data)
            left -= len(data)
        while left:
            step = min(left, _PIECE)
            self._out.write(bytes(step))
            left -= step
        self._out.write(bytes(-size % BLOCK))

    def finish(self) -> None:
        """Write the end of the archive: two blocks of zeros."""
        self._out.write(bytes(2 * BLOCK))


def headers(entry: Entry) -> bytes:
    """The header block of an entry, after an extended header where one is needed."""
    name = entry.name + b"/" if entry.is_dir and not entry.name.endswith(b"/") else entry.name
    extra = _records(entry, name)
    if not extra:
        return _header(entry, name)
    body = b"".join(record(key, extra[key]) for key in sorted(extra))
    return b"".join(
        (
            _pack(b"PaxHeaders/entry", (0o644, 0, 0, len(body), 0), b"x", b"", NO_DEVICE),
            body,
            bytes(-len(body) % BLOCK),
            _header(entry, name),
        )
    )


def _records(entry: Entry, name: bytes) -> dict[bytes, bytes]:
    """What the ustar header can't hold."""
    extra: dict[bytes, bytes] = {}
    if len(name) > 100:
        extra[b"path"] = name
    if len(entry.link) > 100:
        extra[b"linkpath"] = entry.link
    seconds, nanoseconds = divmod(entry.mtime, _SECOND)
    if nanoseconds or not 0 <= seconds < _OCTAL_SIZE:
        extra[b"mtime"] = _time(entry.mtime)
    if entry.size >= _OCTAL_SIZE and entry.is_file:
        extra[b"size"] = b"%d" % entry.size
    if entry.uid >= _OCTAL_ID:
        extra[b"uid"] = b"%d" % entry.uid
    if entry.gid >= _OCTAL_ID:
        extra[b"gid"] = b"%d" % entry.gid
    for key, value in entry.xattrs.items():
        extra[b"SCHILY.xattr." + key] = value
    return extra


def _time(nanoseconds: int) -> bytes:
    sign = b"-" if nanoseconds < 0 else b""
    seconds, fraction = divmod(abs(nanoseconds), _SECOND)
    text = sign + b"%d" % seconds
    return text + (b".%09d" % fraction).rstrip(b"0") if fraction else text


def _header(entry: Entry, name: bytes) -> bytes:
    kind = b"1" if entry.hardlink else _TYPES[stat.S_IFMT(entry.mode)]
    size = entry.size if entry.is_file else 0
    seconds = min(max(entry.mtime // _SECOND, 0), _OCTAL_SIZE - 1)
    return _pack(
        name[:100],
        (
            entry.mode & 0o7777,
            min(entry.uid, _OCTAL_ID - 1),
            min(entry.gid, _OCTAL_ID - 1),
            size if size < _OCTAL_SIZE else 0,
            seconds,
        ),
        kind,
        entry.link[:100],
        entry.rdev,
    )


def _pack(
    name: bytes,
    numbers: tuple[int, int, int, int, int],
    kind: bytes,
    link: bytes,
    rdev: tuple[int, int],
) -> bytes:
    """A block of mode, owner, group, size and seconds, none of them larger than its field.

    In two parts, around the sum of both: most blocks have a second part that others had.
    """
    front = name.ljust(100, b"\0") + b"%07o\0%07o\0%07o\0%011o\0%011o\0" % numbers
    if link or rdev != NO_DEVICE:
        back = _back(kind, link, rdev)
        total = sum(front) + sum(back)
    else:
        back, known = _PLAIN[kind]
        total = sum(front) + known
    return front + b"%06o\0 " % (total + _BLANKS) + back


def _back(kind: bytes, link: bytes, rdev: tuple[int, int]) -> bytes:
    devices = b"%07o\0%07o\0" % rdev
    return kind + link.ljust(100, b"\0") + b"ustar\x0000" + bytes(64) + devices + bytes(167)


_BLANKS = 8 * 32  # the sum counts its own field so
_PLAIN = {
    kind: (_back(kind, b"", NO_DEVICE), sum(_back(kind, b"", NO_DEVICE)))
    for kind in (*_TYPES.values(), b"1", b"x")
}
