"""Compressed streams, in process: told apart by their magic, read with a bound, written the same
way every time. No program of the machine or of a container is ever run for it.
"""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import zlib
from typing import BinaryIO, cast

import zstandard
from isal import igzip, igzip_threaded, isal_zlib

from ketch.errors import DataCorrupt, InvalidParameter, Unsupported
from ketch.layers.streams import CHUNK, ReadAhead

_MAGICS = (
    (b"\x1f\x8b", "gzip"),
    (b"\x28\xb5\x2f\xfd", "zstd"),
    (b"BZh", "bzip2"),
    (b"\xfd7zXZ\x00", "xz"),
)
_GZIP_LEVEL = 1
_GZIP_THREADS = 2
_ZSTD_LEVEL = 3
_XZ_MEMORY = 256 * 1024 * 1024
_ZSTD_WINDOW = 128 * 1024 * 1024
_BROKEN: tuple[type[Exception], ...] = (
    cast("type[Exception]", isal_zlib.error),
    EOFError,
    igzip.BadGzipFile,
    lzma.LZMAError,
    zlib.error,
    zstandard.ZstdError,
)


def detect(head: bytes) -> str:
    """``gzip``, ``zstd``, ``bzip2``, ``xz`` or ``none`` by the first six bytes of a stream."""
    for magic, kind in _MAGICS:
        if head.startswith(magic):
            return kind
    return "none"


def decompressed(
    raw: BinaryIO, *, limit: int = 0, ahead: bool = True, eager: bool = False
) -> BinaryIO:
    """The uncompressed stream of ``raw``, whatever its compression.

    ``limit`` in bytes (0 = none): reading more raises ``InvalidParameter`` (a bomb). Broken or
    truncated data raises ``DataCorrupt`` (but for a truncated zstd frame, which just ends early:
    tar readers notice). With ``ahead`` a thread decompresses in advance of the reader. ``eager`` is
    for a buffered stream that is still being written: what is not compressed is given as it comes.
    """
    source = _Peeked(raw)
    kind = detect(source.head)
    if kind == "none":
        stream: object = _Arriving(cast(io.BufferedReader, raw), source.head) if eager else source
    else:
        checked = _Checked(_open(kind, source), kind)
        stream = ReadAhead(cast(BinaryIO, checked)) if ahead else checked
    return cast(BinaryIO, _Limited(cast(BinaryIO, stream), limit) if limit else stream)


def _open(kind: str, source: _Peeked) -> BinaryIO:
    raw = cast(BinaryIO, source)
    if kind == "gzip":
        return cast(BinaryIO, igzip.IGzipFile(fileobj=raw, mode="rb"))  # type: ignore[no-untyped-call]
    if kind == "zstd":
        decompressor = zstandard.ZstdDecompressor(max_window_size=_ZSTD_WINDOW)
        return cast(BinaryIO, decompressor.stream_reader(raw, read_across_frames=True))
    if kind == "bzip2":
        return cast(BinaryIO, bz2.BZ2File(raw))
    return cast(BinaryIO, _XzFile(raw))


class _Peeked(io.RawIOBase):
    """A stream whose first bytes can be looked at."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        head = b""
        while len(head) < 6 and (more := raw.read(6 - len(head))):
            head += more
        self.head = self._rest = head

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; empty at the end only."""
        if not self._rest:
            return self._raw.read(size)
        if size < 0:
            return self._take(len(self._rest)) + self._raw.read()
        return self._take(size)

    def _take(self, size: int) -> bytes:
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast(bytearray, buffer))
        data = self.read(len(view))
        view[: len(data)] = data
        return len(data)


class _Arriving(io.RawIOBase):
    """A buffered stream behind its ``head``, of which a read gives what is there."""

    def __init__(self, raw: io.BufferedReader, head: bytes) -> None:
        self._raw = raw
        self._head = head

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; empty at the end only."""
        piece, self._head = self._head, b""
        return piece or self._raw.read1(size)


class _XzFile:
    """Concatenated xz streams with a bound on the decoder's memory."""

    def __init__(self, raw: BinaryIO) -> None:
        self._raw = raw
        self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)

    def read(self, size: int) -> bytes:
        while True:
            feed = b""
            if self._decoder.eof:
                feed = self._decoder.unused_data.lstrip(b"\0") or self._raw.read(CHUNK)
                if not feed.lstrip(b"\0"):
                    return b""
                self._decoder = lzma.LZMADecompressor(memlimit=_XZ_MEMORY)
            elif self._decoder.needs_input:
                feed = self._raw.read(CHUNK)
                if not feed:
                    raise EOFError("truncated")
            data = self._decoder.decompress(feed, size)
            if data:
                return data


class _Checked:
    """Turns a codec's own errors into ``DataCorrupt``."""

    def __init__(self, raw: BinaryIO, kind: str) -> None:
        self._raw = raw
        self._kind = kind

    def read(self, size: int) -> bytes:
        try:
            return self._raw.read(size)
        except _BROKEN as error:
            raise DataCorrupt(f"broken {self._kind} stream: {error}") from error
        except OSError as error:
            if error.errno is not None:
                raise
            raise DataCorrupt(f"broken {self._kind} stream: {error}") from error  # bz2's way


class _Limited:
    """Refuses to give more than ``limit`` bytes."""

    def __init__(self, raw: BinaryIO, limit: int) -> None:
        self._raw = raw
        self._limit = limit
        self._left = limit

    def read(self, size: int = CHUNK) -> bytes:
        data = self._raw.read(size)
        self._left -= len(data)
        if self._left < 0:
            raise InvalidParameter(
                f"the stream unpacks to more than {self._limit} bytes, the limit set for it"
            )
        return data

    def close(self) -> None:
        self._raw.close()


def compress(source: BinaryIO, out: BinaryIO, kind: str = "gzip", level: int | None = None) -> None:
    """Copy ``source`` into ``out`` as ``gzip`` (level 1, several threads, no time stamp), ``zstd``
    or ``none``; the same input gives the same output. ``out`` stays open. With a ``level``, gzip
    is zlib's (0 to 9)."""
    if kind == "none":
        _copy(source, out)
    elif kind == "gzip" and level is not None:
        with gzip.GzipFile("", "wb", level, out, 0) as file:  # no name, no time
            _copy(source, cast(BinaryIO, file))
    elif kind == "gzip":
        writer: BinaryIO = igzip_threaded.open(  # type: ignore[no-untyped-call]
            out, "wb", compresslevel=_GZIP_LEVEL, threads=_GZIP_THREADS, block_size=CHUNK
        )
        with writer:
            _copy(source, writer)
    elif kind == "zstd":
        compressor = zstandard.ZstdCompressor(
            level=_ZSTD_LEVEL if level is None else level, write_content_size=False
        )
        with compressor.stream_writer(out, closefd=False) as frames:
            _copy(source, cast(BinaryIO, frames))
    else:
        raise Unsupported(f"compression {kind!r}: gzip, zstd and none are supported for writing")


def _copy(source: BinaryIO, out: BinaryIO) -> None:
    """Copy in pieces of exactly ``CHUNK`` bytes, so that block borders don't depend on luck."""
    piece = bytearray()
    while data := source.read(CHUNK - len(piece)):
        piece += data
        if len(piece) == CHUNK:
            out.write(bytes(piece))
            piece.clear()
    out.write(bytes(piece))
