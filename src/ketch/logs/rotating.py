"""A file of whole records that is rotated by size: what the log drivers with files write to.

``x`` becomes ``x.1``, that ``x.2``… so that at most ``max_file`` files of ``max_size`` bytes plus
one record exist. Rotated files may be compressed (``x.1.gz``) by a ``Compressor``. On the shim's
import path.
"""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Protocol

    class Compressor(Protocol):
        """Compresses rotated files beside the writer."""

        def start(self, path: str) -> None:
            """Begin to compress what was rotated away and is not compressed yet."""

        def stop(self) -> None:
            """Give up what is not finished; files may be renamed afterwards."""


_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW
_UNBOUNDED = 1 << 62


class RotatingFile:
    """One writer per file; several would tear each other's rotation.

    ``max_size`` in bytes, 0 = without bounds. Raises OSError when the file cannot be opened. Later
    faults (a full disk) lose records, never tear them, and never reach the container; the first is
    told on stderr.
    """

    __slots__ = ("_fd", "_max_file", "_max_size", "_path", "_told", "compressor", "size")

    def __init__(self, path: str, max_size: int = 0, max_file: int = 1) -> None:
        self._path = path
        self._max_size = max_size
        self._max_file = max(1, max_file)
        self._told = False
        self._fd = -1
        self.size = 0
        self.compressor: Compressor | None = None
        self._open()

    def room(self) -> int:
        """Bytes until the file is full; a file that is full is rotated away first."""
        if not self._max_size:
            return _UNBOUNDED
        if self.size >= self._max_size:
            self._rotate()
        return max(1, self._max_size - self.size)

    def put(self, records: bytes) -> None:
        """Write complete records."""
        if self._fd < 0 and not self._reopened():
            return
        try:
            written = os.write(self._fd, records)
            while written < len(records):
                written += os.write(self._fd, records[written:])
            self.size += written
        except OSError as error:
            self._complain(error)
            self.cut(self.size)

    def cut(self, size: int) -> None:
        """Remove what was written in part."""
        try:
            os.ftruncate(self._fd, size)
            self.size = size
        except OSError as error:
            self._complain(error)

    def read(self, offset: int, count: int) -> bytes:
        """Bytes of the present file."""
        return os.pread(self._fd, count, offset)

    def close(self) -> None:
        """Close; a compression that is not finished is given up."""
        if self.compressor is not None:
            self.compressor.stop()
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _open(self) -> None:
        self._fd = os.open(self._path, _FLAGS, 0o640)
        self.size = os.fstat(self._fd).st_size

    def _reopened(self) -> bool:
        try:
            self._open()
        except OSError as error:
            self._complain(error)
        return self._fd >= 0

    def _rotate(self) -> None:
        """Begin a new file; a reader keeps the old one open and finds its successor by name."""
        try:
            if self.compressor is not None:
                self.compressor.stop()
            self._shift()
            os.close(self._fd)
            self._fd = -1
            self._open()
            if self.compressor is not None and self._max_file > 1:
                self.compressor.start(self._path)
        except OSError as error:
            self._complain(error)
            self.size = 0  # try again after another max_size bytes

    def _shift(self) -> None:
        """Rename every file to the next number, and remove what is beyond the last."""
        for number, name in sorted(rotated(self._path), reverse=True):
            if number + 1 >= self._max_file:
                os.unlink(name)
            else:
                ending = ".gz" if name.endswith(".gz") else ""
                os.rename(name, f"{self._path}.{number + 1}{ending}")
        if self._max_file == 1:
            os.unlink(self._path)
        else:
            os.rename(self._path, f"{self._path}.1")

    def _complain(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            print(f"ketch: log {self._path}: {error}; lines are lost", file=sys.stderr, flush=True)


def rotated(path: str) -> "list[tuple[int, str]]":
    """(number, path) of each rotated file of the log ``path``, in no order."""
    directory, _, base = path.rpartition("/")
    found = []
    try:
        names = os.listdir(directory or ".")
    except FileNotFoundError:
        return []
    for name in names:
        number = name[len(base) + 1 :].removesuffix(".gz")
        if name.startswith(f"{base}.") and number.isdecimal():
            found.append((int(number), f"{directory}/{name}" if directory else name))
    return found
