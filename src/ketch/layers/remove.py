"""Deleting trees that someone else made: never through a symbolic link, never too deep."""

from __future__ import annotations

import errno
import os
from collections.abc import Callable
from contextlib import suppress

_MAX_OPEN = 100
_OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC


def remove(dir_fd: int, name: bytes, on_inode: Callable[[], None] | None = None) -> None:
    """Delete ``name`` in ``dir_fd`` and all that is in it; no error if it is not there, or if
    somebody else deletes it at the same time.

    ``on_inode`` is called after each deletion. Directories deeper than a hundred levels are
    renamed to the top first, so that open files stay bounded.
    """
    tell = on_inode or (lambda: None)
    pending = [name]
    while pending:
        _remove_one(dir_fd, pending.pop(), pending, tell)


def _remove_one(dir_fd: int, name: bytes, pending: list[bytes], tell: Callable[[], None]) -> None:
    if _unlinked(dir_fd, name):
        tell()
        return
    stack: list[tuple[int, bytes, int]] = []
    _enter(stack, dir_fd, name)
    try:
        while stack:
            parent, here, fd = stack[-1]
            deeper = _unlink_files(fd, tell)
            if deeper is None:
                os.close(stack.pop()[2])
                with suppress(FileNotFoundError):
                    os.rmdir(here, dir_fd=parent)
                    tell()
            elif len(stack) < _MAX_OPEN:
                _enter(stack, fd, deeper)
            else:
                with suppress(FileNotFoundError):
                    pending.append(_lift(fd, deeper, dir_fd))
    finally:
        for _, _, fd in stack:
            os.close(fd)


def _enter(stack: list[tuple[int, bytes, int]], parent: int, name: bytes) -> None:
    with suppress(FileNotFoundError):
        stack.append((parent, name, os.open(name, _OPEN_DIR, dir_fd=parent)))


def _unlink_files(fd: int, tell: Callable[[], None]) -> bytes | None:
    """Delete the files of a directory up to the first directory, which is returned."""
    for name in os.listdir(fd):
        if not _unlinked(fd, os.fsencode(name)):
            return os.fsencode(name)
        tell()
    return None


def _unlinked(dir_fd: int, name: bytes) -> bool:
    """Unlink anything but a directory; False for a directory."""
    try:
        os.unlink(name, dir_fd=dir_fd)
    except FileNotFoundError:
        return True
    except OSError as error:
        if error.errno not in (errno.EISDIR, errno.EPERM):
            raise
        if error.errno == errno.EPERM and not _is_dir(dir_fd, name):
            raise
        return False
    return True


def _is_dir(dir_fd: int, name: bytes) -> bool:
    return os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode & 0o170000 == 0o040000


def _lift(fd: int, name: bytes, top_fd: int) -> bytes:
    """Rename a deep directory to the top under a name of its own."""
    lifted = b".ketch-removing-" + os.urandom(8).hex().encode()
    os.rename(name, lifted, src_dir_fd=fd, dst_dir_fd=top_fd)
    return lifted
