"""The files of one rotated log, read in chunks and from the end.

Rotation renames ``x`` to ``x.1``, ``x.1`` to ``x.2``…, so a reader holds files by their fds and
knows them by inode; the successor of a file is the one whose number is one lower.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from dataclasses import dataclass

CHUNK = 256 * 1024


@dataclass(frozen=True)
class Position:
    """A place in a file of the log: the fd (the holder closes it) and an offset."""

    fd: int
    offset: int


def open_all(path: str) -> list[int]:
    """Fds of the log's files, oldest first; empty when there is none.

    The set is consistent: if a rotation happens between the opens, it is taken again.
    """
    while True:
        fds: list[int] = []
        for name in reversed(_names(path)):
            try:
                fds.append(os.open(name, os.O_RDONLY | os.O_CLOEXEC | os.O_NOFOLLOW))
            except FileNotFoundError:
                continue
        inodes = [os.fstat(fd).st_ino for fd in fds]
        if inodes == _inodes(path):
            return fds
        for fd in fds:
            os.close(fd)


def successor(path: str, fd: int) -> int | None:
    """An fd of the file that follows ``fd`` in the log; None while there is none.

    When ``fd`` has been rotated out of existence, the oldest file that is left follows it.
    """
    inode = os.fstat(fd).st_ino
    if _is_current(path, inode):
        return None
    fds = open_all(path)
    inodes = [os.fstat(each).st_ino for each in fds]
    index = inodes.index(inode) + 1 if inode in inodes else 0
    found: int | None = None
    for number, each in enumerate(fds):
        if number == index:
            found = each
        else:
            os.close(each)
    return found


def _is_current(path: str, inode: int) -> bool:
    try:
        return os.lstat(path).st_ino == inode
    except FileNotFoundError:
        return False  # in the middle of a rotation


def _names(path: str) -> list[str]:
    """``x``, ``x.1``, ``x.2``… as far as they exist, newest first."""
    directory, base = os.path.split(path)
    prefix = f"{base}."
    try:
        found = os.listdir(directory or ".")
    except FileNotFoundError:
        return []
    numbers = sorted(
        int(name[len(prefix) :])
        for name in found
        if name.startswith(prefix) and name[len(prefix) :].isdecimal()
    )
    return [path, *(f"{path}.{number}" for number in numbers)]


def _inodes(path: str) -> list[int]:
    inodes: list[int] = []
    for name in reversed(_names(path)):
        try:
            inodes.append(os.lstat(name).st_ino)
        except FileNotFoundError:
            continue
    return inodes


def tail_position(fds: list[int], count: int) -> tuple[int, int]:
    """(index in ``fds``, offset) from where ``count`` lines follow; (0, 0) if there are fewer."""
    for index in range(len(fds) - 1, -1, -1):
        offset, found = _last_lines(fds[index], count)
        if found >= count:
            return index, offset
        count -= found
    return 0, 0


def _last_lines(fd: int, count: int) -> tuple[int, int]:
    """(offset of the last ``count`` lines, how many there are); a line ends with its newline."""
    position = os.fstat(fd).st_size
    if count <= 0:
        return position, 0
    seen = -1  # the newline that ends the last line starts nothing
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        block = os.pread(fd, size, position)
        newlines = block.count(b"\n")
        if seen + newlines < count:
            seen += newlines
            continue
        index = len(block)
        while seen < count:
            index = block.rindex(b"\n", 0, index)
            seen += 1
        return position + index + 1, count
    return 0, max(0, seen + 1)


class LineReader:
    """Complete lines of one file from an offset on; what has no newline yet waits."""

    def __init__(self, position: Position) -> None:
        self.fd = position.fd
        self._offset = position.offset
        self._rest = b""

    def chunk(self) -> list[bytes]:
        """The complete lines of the next chunk; may be empty before the end."""
        data = os.pread(self.fd, CHUNK, self._offset)
        self._offset += len(data)
        *lines, self._rest = (self._rest + data).split(b"\n")
        return lines

    def at_end(self) -> bool:
        """Whether everything that the file holds now has been read."""
        return self._offset >= os.fstat(self.fd).st_size

    def chunks(self) -> Iterator[list[bytes]]:
        """Chunks up to the present end."""
        while not self.at_end():
            yield self.chunk()
