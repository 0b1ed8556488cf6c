"""Measuring a writable snapshot."""

from __future__ import annotations

import os
import stat

from ketch.snapshots.protocol import Usage


def measure(path: str) -> Usage:
    """Sizes of all files below ``path``, each inode once; what vanishes meanwhile is left out."""
    seen: set[int] = set()
    size = inodes = 0
    for _, _, _, fd in os.fwalk(path, onerror=None):
        for entry in _entries(fd):
            info = _lstat(entry, fd)
            if info is None or info.st_ino in seen:
                continue
            if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
                seen.add(info.st_ino)
            inodes += 1
            size += 0 if stat.S_ISDIR(info.st_mode) else info.st_size
    return Usage(size=size, inodes=inodes)


def _entries(fd: int) -> list[str]:
    try:
        return os.listdir(fd)
    except OSError:
        return []


def _lstat(name: str, fd: int) -> os.stat_result | None:
    try:
        return os.stat(name, dir_fd=fd, follow_symlinks=False)
    except OSError:
        return None
