"""Getting written data to the disk: fsync(2), syncfs(2), sync_file_range(2)."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)
_SYNC_FILE_RANGE_WRITE = 2


def syncfs(fd: int) -> None:
    """Write everything of the filesystem that holds ``fd``, and wait."""
    if _libc.syncfs(fd) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))


def start_writeback(fd: int, offset: int, length: int) -> None:
    """Begin to write a range of a file without waiting, so that a later fsync is short.

    A hint: errors (filesystems that can't) are not told; the fsync tells them.
    """
    _libc.sync_file_range(
        fd, ctypes.c_int64(offset), ctypes.c_int64(length), _SYNC_FILE_RANGE_WRITE
    )


def sync_directory(path: str) -> None:
    """Make a directory's entries durable."""
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(fd)
    finally:
        os.close(fd)
