"""Flags of inodes (ioctl_iflags(2))."""

from __future__ import annotations

import fcntl
import os
import struct
from contextlib import suppress

_GET_FLAGS, _SET_FLAGS = 0x80086601, 0x40086602
_TOP_DIRECTORY = 0x0002_0000  # FS_TOPDIR_FL, ``chattr +T``
_WORD = struct.Struct("=l")


def spread_directories(path: str) -> None:
    """Say that the directories that will be made in this one have nothing to do with each other.

    ext4 then gives each a block group of its own choice, with room in it, and what is made below
    stays there (chattr(1), attribute T). A hint: file systems that do not know it are not told of.
    """
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with suppress(OSError):
            (flags,) = _WORD.unpack(fcntl.ioctl(fd, _GET_FLAGS, bytes(_WORD.size)))
            fcntl.ioctl(fd, _SET_FLAGS, _WORD.pack(flags | _TOP_DIRECTORY))
    finally:
        os.close(fd)
