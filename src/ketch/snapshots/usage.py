"""Measuring a writable snapshot."""

from __future__ import annotations

import stat

from ketch.linux.below import stats_below
from ketch.snapshots.protocol import Usage


def measure(path: str) -> Usage:
    """Sizes of all files below ``path``, each inode once; what vanishes meanwhile is left out."""
    seen: set[int] = set()
    size = inodes = 0
    for info in stats_below(path):
        if info.st_ino in seen:
            continue
        if info.st_nlink > 1 and not stat.S_ISDIR(info.st_mode):
            seen.add(info.st_ino)
        inodes += 1
        size += 0 if stat.S_ISDIR(info.st_mode) else info.st_size
    return Usage(size=size, inodes=inodes)
