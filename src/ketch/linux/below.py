"""What lies below a directory that others fill, and fill while one looks.

Nothing here recurses, follows a link or keeps a descriptor for each level: trees may be as deep as
their writers like, deeper than PATH_MAX, and deeper than a process may have files open.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Generator, Iterator

_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_Identity = tuple[int, int]


def stats_below(path: str) -> Iterator[os.stat_result]:
    """lstat(2) of everything below a directory, directories included.

    What vanishes or can't be read is left out. A directory that is moved elsewhere while it is
    being looked at ends the look: what is above it can't be found again.
    """
    try:
        here = os.open(path, _OPEN_DIR)
    except OSError:
        return
    way: list[tuple[_Identity, list[str]]] = []  # directories above, and what is left in each
    try:
        left = yield from _looked(here)
        while left or way:
            if not left:
                identity, left = way.pop()
                above = _opened("..", here)
                if above is None:
                    return
                here = _instead(here, above)
                if _identity(here) != identity:
                    return
            elif (deeper := _opened(left.pop(), here)) is not None:
                way.append((_identity(here), left))
                here = _instead(here, deeper)
                left = yield from _looked(here)
    finally:
        os.close(here)


def _looked(fd: int) -> Generator[os.stat_result, None, list[str]]:
    """What is in one directory; returns the names of the directories in it."""
    directories: list[str] = []
    try:
        names = os.listdir(fd)
    except OSError:
        return directories
    for name in names:
        try:
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
        except OSError:
            continue
        if stat.S_ISDIR(info.st_mode):
            directories.append(name)
        yield info
    return directories


def _opened(name: str, dir_fd: int) -> int | None:
    try:
        return os.open(name, _OPEN_DIR, dir_fd=dir_fd)
    except OSError:
        return None


def _instead(old: int, new: int) -> int:
    os.close(old)
    return new


def _identity(fd: int) -> _Identity:
    info = os.fstat(fd)
    return info.st_dev, info.st_ino
