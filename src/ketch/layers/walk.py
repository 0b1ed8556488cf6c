"""Reading a directory tree as entries: sorted, through fds only, following no link."""

from __future__ import annotations

import os
import stat
from collections.abc import Callable, Iterator

from ketch.errors import InvalidParameter
from ketch.layers.create import OPEN_DIR, working_directory
from ketch.layers.entry import NO_DEVICE, NO_XATTRS, Entry, shown
from ketch.layers.names import MAX_DEPTH
from ketch.layers.whiteouts import is_overlay_xattr, is_whiteout

_OPEN_FILE = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
Found = tuple[Entry, int]
"""An entry and an fd: of a directory or of a regular file, else -1. The walk closes it."""


class Walk:
    """Walks trees and remembers inodes, so that later names of one become hard links.

    ``skips`` says of a path, and whether it is a directory, that it is left out with all below it;
    ``closed`` of a directory's path and fd, that it is taken without what is in it.
    """

    def __init__(
        self,
        skips: Callable[[bytes, bool], bool] | None = None,
        closed: Callable[[bytes, int], bool] | None = None,
    ) -> None:
        self._names: dict[tuple[int, int], bytes] = {}
        self._xattrs: dict[tuple[int, int], dict[bytes, bytes]] = {}  # of those that have some
        self._skips = skips
        self._closed = closed

    def tree(self, dir_fd: int, name: bytes, prefix: bytes) -> Iterator[Found]:
        """``name`` in ``dir_fd`` and all below it; the first entry is called ``prefix``.

        Sockets are left out, as archives have no word for them. What vanishes meanwhile is left
        out too. Raises ``InvalidParameter`` deeper than 256 levels.
        """
        stack: list[tuple[int, bytes | None, list[bytes]]] = [(dir_fd, None, [name])]
        try:
            while stack:
                here, path, pending = stack[-1]
                if not pending:
                    _leave(stack.pop()[0], dir_fd)
                    continue
                child = pending.pop()
                child_path = prefix if path is None else join(path, child)
                found = self._read(here, child, child_path)
                if found is None:
                    continue
                with _Open(found[1]) as opened:
                    is_dir = found[0].is_dir  # the entry is the receiver's to change
                    yield found
                    if is_dir and not (self._closed and self._closed(child_path, found[1])):
                        _check_depth(stack, child_path)
                        stack.append((opened.keep(), child_path, list_reversed(found[1])))
        finally:
            for frame in stack:
                _leave(frame[0], dir_fd)

    def _read(self, dir_fd: int, name: bytes, path: bytes) -> Found | None:
        try:
            info = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
            if stat.S_ISSOCK(info.st_mode):
                return None
            if self._skips is not None and self._skips(path, stat.S_ISDIR(info.st_mode)):
                return None
            linked = self._linked(info, path)
            if linked is not None:
                return linked, -1
            found = self._open(dir_fd, name, path, info)
            if info.st_nlink > 1 and found[0].xattrs and not found[0].is_dir:
                self._xattrs[info.st_dev, info.st_ino] = found[0].xattrs
            return found
        except FileNotFoundError:
            return None

    def _linked(self, info: os.stat_result, path: bytes) -> Entry | None:
        """A hard link, when the inode was met under another name."""
        if info.st_nlink < 2 or stat.S_ISDIR(info.st_mode) or is_whiteout(info):
            return None  # overlayfs links all whiteouts to one inode
        inode = (info.st_dev, info.st_ino)
        first = self._names.setdefault(inode, path)
        if first == path:
            return None
        entry = describe(path, info)
        entry.size, entry.rdev = 0, NO_DEVICE
        entry.xattrs = self._xattrs.get(inode, NO_XATTRS)
        entry.hardlink, entry.link = True, first
        return entry

    def _open(self, dir_fd: int, name: bytes, path: bytes, info: os.stat_result) -> Found:
        if stat.S_ISDIR(info.st_mode):
            fd = os.open(name, OPEN_DIR, dir_fd=dir_fd)
        elif stat.S_ISREG(info.st_mode):
            fd = os.open(name, _OPEN_FILE, dir_fd=dir_fd)
        else:
            return _special(dir_fd, name, path, info), -1
        try:
            entry = describe(path, os.fstat(fd))
            entry.xattrs = read_xattrs(fd)
        except BaseException:
            os.close(fd)
            raise
        return entry, fd


def join(directory: bytes, name: bytes) -> bytes:
    """``directory/name``, where an empty directory is the top."""
    return (
        directory + name if directory.endswith(b"/") or not directory else directory + b"/" + name
    )


def list_reversed(fd: int) -> list[bytes]:
    """The names in a directory, last first."""
    return sorted(map(os.fsencode, os.listdir(fd)), reverse=True)


def describe(name: bytes, info: os.stat_result) -> Entry:
    """An entry with the attributes of stat(2)."""
    entry = Entry(name, info.st_mode)
    entry.uid, entry.gid = info.st_uid, info.st_gid
    entry.mtime = info.st_mtime_ns
    if stat.S_ISREG(info.st_mode):
        entry.size = info.st_size
    if stat.S_ISCHR(info.st_mode) or stat.S_ISBLK(info.st_mode):
        entry.rdev = (os.major(info.st_rdev), os.minor(info.st_rdev))
    return entry


def _special(dir_fd: int, name: bytes, path: bytes, info: os.stat_result) -> Entry:
    entry = describe(path, info)
    if stat.S_ISLNK(info.st_mode):
        entry.link = os.readlink(name, dir_fd=dir_fd)
    with working_directory(dir_fd):
        entry.xattrs = read_xattrs(name)
    return entry


def _not_overlay(key: bytes) -> bool:
    return not is_overlay_xattr(key)


def read_xattrs(
    where: int | bytes, wanted: Callable[[bytes], bool] = _not_overlay
) -> dict[bytes, bytes]:
    """The extended attributes of an fd, or of a name in the working directory, but overlayfs's."""
    follow = isinstance(where, int)
    try:
        names = os.listxattr(where, follow_symlinks=follow)
    except OSError:  # a filesystem without any
        return NO_XATTRS
    if not names:
        return NO_XATTRS
    keys = [os.fsencode(name) for name in names]
    return {key: os.getxattr(where, key, follow_symlinks=follow) for key in keys if wanted(key)}


class _Open:
    """Closes an fd at the end of a block, unless it is kept."""

    def __init__(self, fd: int) -> None:
        self._fd = fd

    def keep(self) -> int:
        fd, self._fd = self._fd, -1
        return fd

    def __enter__(self) -> _Open:
        return self

    def __exit__(self, *_: object) -> None:
        if self._fd >= 0:
            os.close(self._fd)


def _leave(fd: int, top: int) -> None:
    if fd != top:
        os.close(fd)


def _check_depth(stack: list[tuple[int, bytes | None, list[bytes]]], path: bytes) -> None:
    if len(stack) > MAX_DEPTH:
        raise InvalidParameter(f"{shown(path)}: deeper than {MAX_DEPTH} levels")
