"""Byte streams: exact reads with a tap, reading ahead in a thread, a window into a file."""

from __future__ import annotations

import hashlib
import io
import os
import queue
import threading
from collections.abc import Callable
from typing import BinaryIO, cast

from ketch.errors import DataCorrupt

CHUNK = 1 << 20


class ChunkReader:
    """Reads a stream in large chunks and gives out exact pieces of them.

    ``on_chunk`` sees every chunk once, in order. ``position`` counts the bytes given or skipped.
    """

    def __init__(self, raw: BinaryIO, on_chunk: Callable[[bytes], None] | None = None) -> None:
        self._raw = raw
        self._on_chunk = on_chunk
        self._chunk = b""
        self._at = 0
        self.position = 0

    def _fill(self) -> bool:
        self._chunk = self._raw.read(CHUNK)
        self._at = 0
        if self._chunk and self._on_chunk is not None:
            self._on_chunk(self._chunk)
        return bool(self._chunk)

    def some(self, size: int) -> bytes:
        """Between 1 and ``size`` bytes; ``DataCorrupt`` at the end of the stream."""
        if size <= 0:
            return b""
        if self._at == len(self._chunk) and not self._fill():
            raise DataCorrupt("tar stream: unexpected EOF")
        piece = self._chunk[self._at : self._at + size]
        self._at += len(piece)
        self.position += len(piece)
        return piece

    def exactly(self, size: int, *, allow_end: bool = False) -> bytes:
        """``size`` bytes; with ``allow_end`` nothing if the stream ends right here."""
        end = self._at + size
        if end <= len(self._chunk):
            piece = self._chunk[self._at : end]
            self._at = end
            self.position += size
            return piece
        return self._gather(size, allow_end)

    def _gather(self, size: int, allow_end: bool) -> bytes:
        if self._at == len(self._chunk) and not self._fill() and allow_end:
            return b""
        pieces = []
        while size:
            piece = self.some(size)
            pieces.append(piece)
            size -= len(piece)
        return b"".join(pieces)

    def skip(self, size: int, *, allow_end: bool = False) -> None:
        """Pass over ``size`` bytes; with ``allow_end`` over as many of them as there are."""
        while size > 0:
            room = len(self._chunk) - self._at
            if not room:
                if not self._fill():
                    if allow_end:
                        return
                    raise DataCorrupt("tar stream: unexpected EOF")
                continue
            step = min(room, size)
            self._at += step
            self.position += step
            size -= step

    def drain(self) -> None:
        """Read to the end of the stream."""
        self.position += len(self._chunk) - self._at
        while self._fill():
            self.position += len(self._chunk)


class Digester:
    """SHA-256 in a thread of its own: hashlib lets go of the interpreter lock meanwhile."""

    def __init__(self) -> None:
        self._sha = hashlib.sha256()
        self._alone = 0  # bytes without a thread, which short streams are not worth
        self._queue: queue.Queue[bytes | None] = queue.Queue(4)
        self._thread: threading.Thread | None = None

    def update(self, chunk: bytes) -> None:
        """Take one more chunk; waits when the thread is four chunks behind."""
        if self._thread is None:
            self._alone += len(chunk)
            if self._alone < CHUNK:
                self._sha.update(chunk)
                return
            self._thread = threading.Thread(target=self._run, daemon=True)
            self._thread.start()
        self._queue.put(chunk)

    def _run(self) -> None:
        while (chunk := self._queue.get()) is not None:
            self._sha.update(chunk)

    def finish(self) -> str:
        """``sha256:<hex>`` of everything."""
        self.close()
        return "sha256:" + self._sha.hexdigest()

    def close(self) -> None:
        """End the thread; needed when ``finish`` is never reached."""
        if self._thread is not None:
            self._queue.put(None)
            self._thread.join()
            self._thread = None


class ReadAhead(io.RawIOBase):
    """A stream that is read by a thread, two chunks ahead of its reader.

    The thread is never waited for: one that hangs on a pipe ends with the process.
    """

    def __init__(self, raw: BinaryIO) -> None:
        self._queue: queue.Queue[bytes | BaseException] = queue.Queue(2)
        self._raw = raw
        self._rest = b""
        self._stopped = False
        threading.Thread(target=self._run, daemon=True).start()

    def _run(self) -> None:
        chunk = b"-"
        while chunk and not self._stopped:
            try:
                chunk = self._raw.read(CHUNK)
            except BaseException as error:
                self._queue.put(error)
                return
            self._queue.put(chunk)

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes, as they come; empty at the end."""
        if size < 0:
            return self.readall()
        if not self._rest and not self._stopped:
            self._rest = self._take()
        piece, self._rest = self._rest[:size], self._rest[size:]
        return piece

    def _take(self) -> bytes:
        got = self._queue.get()
        if isinstance(got, BaseException) or not got:
            self._stopped = True
        if isinstance(got, BaseException):
            raise got
        return got

    def close(self) -> None:
        self._stopped = True
        while not self._queue.empty():
            self._queue.get_nowait()
        super().close()


class FileWindow(io.RawIOBase):
    """``length`` bytes of a file from ``offset`` on, readable and seekable; owns the fd."""

    def __init__(self, fd: int, offset: int, length: int) -> None:
        self._fd = fd
        self._offset = offset
        self._length = length
        self._at = 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = os.SEEK_SET) -> int:
        base = {os.SEEK_SET: 0, os.SEEK_CUR: self._at, os.SEEK_END: self._length}[whence]
        self._at = max(0, base + offset)
        return self._at

    def readinto(self, buffer: object) -> int:
        view = memoryview(cast("bytearray", buffer))[: max(0, self._length - self._at)]
        got = os.preadv(self._fd, [view], self._offset + self._at) if len(view) else 0
        self._at += got
        return got

    def close(self) -> None:
        if not self.closed:
            os.close(self._fd)
        super().close()


def write_all(fd: int, data: bytes) -> None:
    """write(2) until everything is written."""
    view = memoryview(data)
    while view:
        view = view[os.write(fd, view) :]
