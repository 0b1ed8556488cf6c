"""The files of one rotated log, held by their fds.

Rotation renames ``x`` to ``x.1``, ``x.1`` to ``x.2``…, and may compress them to ``x.1.gz``…, so a
reader knows files by inode; the successor of a file is the one whose number is one lower.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

from ketch.logs import gzipped
from ketch.logs.rotating import rotated

CHUNK = 256 * 1024


@dataclass(frozen=True)
class LogFile:
    """An open file of a log. ``inode`` is that of the file as it was written."""

    fd: int
    inode: int
    compressed: bool = False

    @classmethod
    def open(cls, path: str) -> LogFile:
        """Raises OSError."""
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW)
        if path.endswith(".gz"):
            return cls(fd, gzipped.original_inode(fd), True)
        return cls(fd, os.fstat(fd).st_ino)

    def close(self) -> None:
        """Give the fd back."""
        os.close(self.fd)

    def contents(self) -> Iterator[bytes]:
        """All that is there, in portions."""
        if self.compressed:
            yield from gzipped.contents(self.fd)
            return
        offset = 0
        while data := os.pread(self.fd, CHUNK, offset):
            offset += len(data)
            yield data


class Cursor:
    """Reads one file onwards; at its end there may be more later."""

    def __init__(self, file: LogFile, offset: int = 0) -> None:
        self.file = file
        self._offset = offset
        self._portions = self._from(offset) if file.compressed else None

    def _from(self, offset: int) -> Iterator[bytes]:
        for portion in self.file.contents():
            if offset < len(portion):
                yield portion[offset:]
            offset = max(0, offset - len(portion))

    def read(self) -> bytes:
        """The next portion; b"" at the present end."""
        if self._portions is not None:
            return next(self._portions, b"")
        data = os.pread(self.file.fd, CHUNK, self._offset)
        self._offset += len(data)
        return data

    def at_end(self) -> bool:
        """Whether everything that the file holds now has been read."""
        return self.file.compressed or self._offset >= os.fstat(self.file.fd).st_size


def open_all(path: str) -> list[LogFile]:
    """The log's files, oldest first; empty when there is none.

    The set is consistent: if a rotation happens between the opens, it is taken again.
    """
    while True:
        files: list[LogFile] = []
        for name in _names(path):
            try:
                files.append(LogFile.open(name))
            except FileNotFoundError:
                continue
        if [os.fstat(file.fd).st_ino for file in files] == _inodes(path):
            return files
        for file in files:
            file.close()


def successor(path: str, file: LogFile) -> LogFile | None:
    """The file that follows ``file`` in the log; None while there is none.

    When ``file`` has been rotated out of existence, the oldest file that is left follows it.
    """
    if _is_current(path, file):
        return None
    files = open_all(path)
    inodes = [each.inode for each in files]
    # Inodes are used again: of several that once had this one, ours is the newest.
    index = len(inodes) - inodes[::-1].index(file.inode) if file.inode in inodes else 0
    found: LogFile | None = None
    for number, each in enumerate(files):
        if number == index:
            found = each
        else:
            each.close()
    return found


def _is_current(path: str, file: LogFile) -> bool:
    try:
        return not file.compressed and os.lstat(path).st_ino == file.inode
    except FileNotFoundError:
        return False  # in the middle of a rotation


def _names(path: str) -> list[str]:
    """…``x.2``, ``x.1.gz``, ``x`` as far as they exist, oldest first.

    While a file is being compressed both forms may be there: the plain one counts.
    """
    found: dict[int, str] = {}
    for number, name in rotated(path):
        if number not in found or found[number].endswith(".gz"):
            found[number] = name
    return [*(found[number] for number in sorted(found, reverse=True)), path]


def _inodes(path: str) -> list[int]:
    inodes: list[int] = []
    for name in _names(path):
        try:
            inodes.append(os.lstat(name).st_ino)
        except FileNotFoundError:
            continue
    return inodes
