"""A streaming tar reader for archives that nobody vouches for.

Reads ustar, PAX (with ``SCHILY.xattr.``), GNU long names and base-256 numbers; refuses sparse and
multi-volume members. Header-only types carry no content whatever their size field says, and the
PAX size wins over the header's, so that no other reader can see members that this one skips.
"""

from __future__ import annotations

import stat
from collections.abc import Callable, Iterator
from struct import Struct
from typing import BinaryIO

from ketch.errors import DataCorrupt, InvalidParameter, Unsupported
from ketch.layers import fields
from ketch.layers.entry import NO_XATTRS, Entry, shown
from ketch.layers.streams import ChunkReader

BLOCK = 512
MAX_EXTENDED = 1024 * 1024
"""Longest extended header or long name that is read into memory, in bytes."""
MAX_ENTRIES = 1_000_000
"""Most members of one archive."""
MAX_ID = 2**32 - 2
"""Highest user or group; -1 means "unchanged" to chown(2)."""
MAX_XATTR_VALUE = 65535
"""Longest value of one extended attribute (XATTR_SIZE_MAX)."""
MAX_XATTRS = 128 * 1024
"""Most bytes of all extended attributes of one entry."""

_HEADER = Struct("100s8s8s8s12s12s8sc100s8s32s32s8s8s155s12x")
_ZEROS = bytes(BLOCK)
_XATTR = b"SCHILY.xattr."
_TYPES = {
    b"0": stat.S_IFREG,
    b"\0": stat.S_IFREG,
    b"7": stat.S_IFREG,
    b"1": stat.S_IFREG,
    b"2": stat.S_IFLNK,
    b"3": stat.S_IFCHR,
    b"4": stat.S_IFBLK,
    b"5": stat.S_IFDIR,
    b"6": stat.S_IFIFO,
}
Records = dict[bytes, bytes]


class TarReader:
    """Iterates over the entries of an uncompressed tar stream.

    ``on_chunk`` is called with every piece of the stream, once, in order: for a digest or a copy.
    Iteration raises ``DataCorrupt`` for a malformed stream, ``InvalidParameter`` for numbers and
    names that make no sense, ``Unsupported`` for sparse members. While the loop stands on an
    entry, ``read`` and ``copy_to`` give its content; what is left is skipped.
    """

    def __init__(self, raw: BinaryIO, on_chunk: Callable[[bytes], None] | None = None) -> None:
        self._stream = ChunkReader(raw, on_chunk)
        self._left = 0
        self._padding = 0
        self._globals: Records = {}
        self.entries = 0

    @property
    def position(self) -> int:
        """Bytes of the stream that the reader is past; all of them after the iteration."""
        return self._stream.position

    def __iter__(self) -> Iterator[Entry]:
        while (entry := self._next()) is not None:
            self.entries += 1
            if self.entries > MAX_ENTRIES:
                raise InvalidParameter(f"the archive has more than {MAX_ENTRIES} entries")
            yield entry
        self._stream.drain()

    def read(self, size: int) -> bytes:
        """Up to ``size`` bytes of the current entry's content; empty at its end."""
        data = self._stream.some(min(size, self._left))
        self._left -= len(data)
        return data

    def copy_to(self, write: Callable[[bytes], object]) -> None:
        """Hand all content that is left to ``write``, piece by piece."""
        while self._left:
            write(self.read(1 << 20))

    def _next(self) -> Entry | None:
        extra: Records = {}
        while True:
            block = self._header_block()
            if block is None:
                if extra:
                    raise DataCorrupt("tar stream ends after an extended header")
                return None
            header = _HEADER.unpack(block)
            kind = header[7]
            if kind in _TYPES:
                return self._entry(header, {**self._globals, **extra} if self._globals else extra)
            size = fields.number(header[4], "size")
            self._extended(kind, header[0], size, extra)

    def _header_block(self) -> bytes | None:
        self._stream.skip(self._left)
        self._stream.skip(self._padding, allow_end=True)  # docker build -f ends archives like that
        self._left = self._padding = 0
        block = self._stream.exactly(BLOCK, allow_end=True)
        if not block:
            return None
        if block == _ZEROS:
            self._check_end()
            return None
        _check_sum(block)
        return block

    def _check_end(self) -> None:
        """A second block of zeros or the end of the stream must follow the first."""
        block = self._stream.exactly(BLOCK, allow_end=True)
        if block and block != _ZEROS:
            raise DataCorrupt("tar stream: members after an end-of-archive block")

    def _extended(self, kind: bytes, name: bytes, size: int, extra: Records) -> None:
        """Take in one of the members that describe the next one."""
        if kind in (b"S", b"M", b"D"):
            what = {b"S": "sparse", b"M": "multi-volume", b"D": "incremental"}[kind]
            raise Unsupported(f"entry {shown(_cstring(name))}: {what} members are not supported")
        if kind not in (b"x", b"X", b"g", b"L", b"K", b"V"):
            raise DataCorrupt(f"entry {shown(_cstring(name))}: unknown member type {kind!r}")
        if not 0 <= size <= MAX_EXTENDED:
            raise InvalidParameter(f"tar extended header of {size} bytes; at most {MAX_EXTENDED}")
        body = self._stream.exactly(size)
        self._stream.skip(-size % BLOCK)
        if kind in (b"x", b"X"):
            extra.update(fields.records(body))
        elif kind == b"g":
            self._globals.update(fields.records(body))
        elif kind == b"L":
            extra[b"path"] = _cstring(body)
        elif kind == b"K":
            extra[b"linkpath"] = _cstring(body)

    def _entry(self, header: tuple[bytes, ...], extra: Records) -> Entry:
        entry = _from_header(header)
        if extra:
            _apply(entry, extra)
        if entry.is_file and entry.name.endswith(b"/"):
            _make_directory(entry)
        _check(entry)
        entry.offset = self._stream.position
        if entry.is_file:
            self._left = entry.size
            self._padding = -entry.size % BLOCK
        return entry


def looks_like_tar(head: bytes) -> bool:
    """Whether a stream that begins with these 512 bytes is a tar archive with members."""
    if len(head) < BLOCK or head[:BLOCK] == _ZEROS:
        return False
    try:
        _check_sum(head[:BLOCK])
    except DataCorrupt:
        return False
    return True


def _cstring(field: bytes) -> bytes:
    return field.split(b"\0", 1)[0]


def _check_sum(block: bytes) -> None:
    """The header's own sum, of unsigned or (some old programs) signed bytes."""
    stored = fields.number(block[148:156], "checksum")
    rest = block[:148] + block[156:]
    total = sum(rest) + 8 * 32
    if stored == total:
        return
    if stored != total - 256 * sum(byte > 127 for byte in rest):
        raise DataCorrupt("tar header with a wrong checksum: not a tar archive, or a broken one")


def _from_header(header: tuple[bytes, ...]) -> Entry:
    name = _cstring(header[0])
    if header[9] == b"ustar\x0000" and header[14][0]:
        name = _cstring(header[14]) + b"/" + name
    kind = header[7]
    entry = Entry(name, _TYPES[kind] | fields.number(header[1], "mode") & 0o7777)
    entry.uid = fields.number(header[2], "uid")
    entry.gid = fields.number(header[3], "gid")
    entry.size = fields.number(header[4], "size")
    entry.mtime = fields.number(header[5], "mtime") * 1_000_000_000
    entry.link = _cstring(header[8])
    entry.hardlink = kind == b"1"
    if kind in (b"3", b"4"):
        entry.rdev = (fields.number(header[12], "major"), fields.number(header[13], "minor"))
    return entry


def _apply(entry: Entry, extra: Records) -> None:
    """Let extended header records override the header."""
    xattrs: dict[bytes, bytes] = {}
    for key, value in extra.items():
        if key.startswith(_XATTR):
            xattrs[key[len(_XATTR) :]] = value
        elif key.startswith(b"GNU.sparse."):
            raise Unsupported(f"entry {shown(entry.name)}: sparse members are not supported")
        elif key in _OVERRIDES and value:
            _OVERRIDES[key](entry, value)
    entry.xattrs = xattrs or NO_XATTRS


def _make_directory(entry: Entry) -> None:
    """A regular file whose full name ends in a slash is a directory of old archivers.

    With content it is refused: readers disagree on where the next member begins.
    """
    if entry.size:
        raise InvalidParameter(f"entry {shown(entry.name)}: a directory with content")
    entry.mode = stat.S_IFDIR | entry.mode & 0o7777


def _set_path(entry: Entry, value: bytes) -> None:
    entry.name = value


def _set_link(entry: Entry, value: bytes) -> None:
    entry.link = value


def _set_size(entry: Entry, value: bytes) -> None:
    entry.size = fields.decimal(value, "size")


def _set_uid(entry: Entry, value: bytes) -> None:
    entry.uid = fields.decimal(value, "uid")


def _set_gid(entry: Entry, value: bytes) -> None:
    entry.gid = fields.decimal(value, "gid")


def _set_mtime(entry: Entry, value: bytes) -> None:
    entry.mtime = fields.timestamp(value)


_OVERRIDES: dict[bytes, Callable[[Entry, bytes], None]] = {
    b"path": _set_path,
    b"linkpath": _set_link,
    b"size": _set_size,
    b"uid": _set_uid,
    b"gid": _set_gid,
    b"mtime": _set_mtime,
}


def _check(entry: Entry) -> None:
    """Refuse numbers and links that no file can have."""
    if not entry.is_file:
        entry.size = 0
    if not 0 <= entry.size <= fields.MAX_SIZE:
        raise InvalidParameter(f"entry {shown(entry.name)}: a size of {entry.size} bytes")
    if not (0 <= entry.uid <= MAX_ID and 0 <= entry.gid <= MAX_ID):
        raise InvalidParameter(
            f"entry {shown(entry.name)}: owner {entry.uid}:{entry.gid} is out of range"
        )
    if not -(2**63) <= entry.mtime // 1_000_000_000 < 2**63:
        raise InvalidParameter(f"entry {shown(entry.name)}: its time is out of range")
    major, minor = entry.rdev
    if not (0 <= major < 1 << 12 and 0 <= minor < 1 << 20):
        raise InvalidParameter(f"entry {shown(entry.name)}: device {major}:{minor} is out of range")
    _check_link(entry)
    if entry.xattrs:
        _check_xattrs(entry)


def _check_link(entry: Entry) -> None:
    if not (entry.hardlink or stat.S_ISLNK(entry.mode)):
        entry.link = b""
    elif not entry.link or len(entry.link) > 4095 or b"\0" in entry.link:
        raise InvalidParameter(f"entry {shown(entry.name)}: a link to nowhere")


def _check_xattrs(entry: Entry) -> None:
    for name, value in entry.xattrs.items():
        if not 0 < len(name) <= 255 or b"\0" in name or len(value) > MAX_XATTR_VALUE:
            raise InvalidParameter(f"entry {shown(entry.name)}: xattr {shown(name)} can't be")
    if sum(len(name) + len(value) + 8 for name, value in entry.xattrs.items()) > MAX_XATTRS:
        raise InvalidParameter(f"entry {shown(entry.name)}: too many xattrs")
