"""The diff of an upper directory as a stream to read.

A small one is made in memory. When it turns out to be large, the process forks: the child goes on
where it is in the directory and writes to a pipe, so that to walk and to store have a core each.
Threads would hand the interpreter to and fro and take twice as long.
"""

from __future__ import annotations

import io
import os
import signal
from contextlib import suppress
from fcntl import F_SETPIPE_SZ, fcntl
from typing import BinaryIO, cast

from ketch.errors import DataCorrupt
from ketch.layers.diff import write_diff
from ketch.linux.process import die_with_parent

SMALL = 1 << 20
"""Bytes up to which nothing is forked."""
_PIPE = 1 << 20


class DiffStream(io.RawIOBase):
    """Reads what ``write_diff`` writes. What that raises is raised here, by ``open`` or at the end
    of the stream, so that no cut tar looks whole."""

    def __init__(self, upper_fd: int, newest: int | None) -> None:
        self._child = 0
        self._whole = False
        self._again = (upper_fd, newest)
        sink = _Sink()
        try:
            write_diff(upper_fd, cast(BinaryIO, sink), newest)
        except _GoesOn as going:
            self._child, self._pipe = going.child, going.pipe
        except BaseException:
            sink.end(1)
            raise
        sink.end(0)
        self._head = io.BytesIO(b"".join(sink.pieces))

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; empty at the end only."""
        data = self._head.read(size)
        if not data and self._child and not self._whole:
            data = self._pipe.read(size)
            if not data:
                self._check()
        return data

    def _check(self) -> None:
        """After the end of the pipe: whether that was the end of the diff."""
        _, status = os.waitpid(self._child, 0)
        self._whole = True
        if status:
            write_diff(self._again[0], cast(BinaryIO, _Nothing()), self._again[1])
            raise DataCorrupt("the upper directory could not be read to its end, but can now")

    def close(self) -> None:
        if not self.closed and self._child:
            self._pipe.close()
            if not self._whole:
                os.kill(self._child, signal.SIGKILL)
                os.waitpid(self._child, 0)
        super().close()


class _GoesOn(Exception):
    """Raised in the process that reads: ``child`` writes the rest to ``pipe``."""

    def __init__(self, child: int, pipe: BinaryIO) -> None:
        super().__init__()
        self.child = child
        self.pipe = pipe


class _Sink:
    """Takes the first pieces into ``pieces``; then it forks."""

    def __init__(self) -> None:
        self.pieces: list[bytes] = []
        self._size = 0
        self._pipe: BinaryIO | None = None

    def write(self, data: bytes) -> None:
        if self._pipe is not None:
            self._pipe.write(data)
            return
        self.pieces.append(data)
        self._size += len(data)
        if self._size > SMALL:
            self._fork()

    def _fork(self) -> None:
        reading, writing = os.pipe()
        with suppress(PermissionError):  # of a user who has too many of them
            fcntl(writing, F_SETPIPE_SZ, _PIPE)
        child = os.fork()
        if child:
            os.close(writing)
            raise _GoesOn(child, os.fdopen(reading, "rb", _PIPE))
        die_with_parent(signal.SIGKILL)
        os.close(reading)
        self._pipe = os.fdopen(writing, "wb", _PIPE)

    def end(self, status: int) -> None:
        """The end of the child; nothing in the process that reads."""
        if self._pipe is None:
            return
        try:
            self._pipe.flush()
        except BaseException:
            status = 1
        os._exit(status)


class _Nothing:
    def write(self, data: bytes) -> None:
        """Forget it."""
