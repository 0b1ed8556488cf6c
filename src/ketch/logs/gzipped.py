"""Compressed log files (gzip, RFC 1952): made by a writer's side, read as a stream.

The header's comment names the file that was compressed by its inode (``inode 123``), so that
somebody who follows the log and still holds that file finds its place. On the shim's import path.
"""

import errno
import os
import zlib
from struct import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

_CHUNK = 256 * 1024
_MAGIC = b"\x1f\x8b\x08\x10" + b"\0" * 4 + b"\0\xff"  # deflate; a comment follows; unknown system
_TRAILER = Struct("<II").pack
_LEVEL = 1  # the machine has better things to do: logs shrink to a tenth with it


def compress(path: str) -> None:
    """``x`` becomes ``x.gz``; an interrupted one leaves ``x`` and ``x.tmp``. Raises OSError."""
    source = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
    flags = os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC | os.O_NOFOLLOW
    target = os.open(f"{path}.tmp", flags, 0o640)
    for piece in _compressed(source):
        if os.write(target, piece) < len(piece):
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC), target)
    os.close(target)
    os.rename(f"{path}.tmp", f"{path}.gz")
    os.unlink(path)
    os.close(source)


def _compressed(source: int) -> "Iterator[bytes]":
    yield _MAGIC + b"inode %d\0" % os.fstat(source).st_ino
    deflate = zlib.compressobj(_LEVEL, zlib.DEFLATED, -zlib.MAX_WBITS)
    checksum = size = 0
    while data := os.read(source, _CHUNK):
        checksum = zlib.crc32(data, checksum)
        size += len(data)
        yield deflate.compress(data)
    yield deflate.flush() + _TRAILER(checksum, size & 0xFFFFFFFF)


def original_inode(fd: int) -> int:
    """The inode of the file that was compressed; 0 when this is no file of ours."""
    head = os.pread(fd, 40, 0)
    comment, end, _ = head[len(_MAGIC) :].partition(b"\0")
    number = comment.removeprefix(b"inode ")
    return int(number) if head.startswith(_MAGIC) and end and number.isdigit() else 0


def contents(fd: int) -> "Iterator[bytes]":
    """What was compressed, in portions of bounded size; what is damaged ends it early."""
    inflate, offset = zlib.decompressobj(16 + zlib.MAX_WBITS), 0
    while data := os.pread(fd, 64 * 1024, offset):
        offset += len(data)
        while data:
            try:
                portion = inflate.decompress(data, _CHUNK)
            except zlib.error:
                return
            if portion:
                yield portion
            data = inflate.unconsumed_tail
