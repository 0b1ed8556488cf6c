"""Which file systems hold what the kernel makes up: statfs(2)."""

from __future__ import annotations

import ctypes
import os

_libc = ctypes.CDLL(None, use_errno=True)

# linux/magic.h: proc, sysfs, cgroup, cgroup2, devpts, mqueue, debugfs, tracefs, securityfs, bpf,
# configfs, pstore, efivarfs, selinuxfs, fusectl, binfmt_misc
_WORDS = """
    9fa0 62656572 27e0eb 63677270 1cd1 19800202 64626720 74726163 73636673 cafe4a11 62656570
    6165676c de5e81e4 f97cff8c 65735543 42494e4d
"""
_MADE_UP = frozenset(int(word, 16) for word in _WORDS.split())


def is_made_up(fd: int) -> bool:
    """Whether the file is of /proc, /sys or the like: no data of anybody, and not all readable."""
    answer = (ctypes.c_long * 32)()  # struct statfs is 120 bytes; its first word is f_type
    if _libc.fstatfs(fd, answer) != 0:
        error = ctypes.get_errno()
        raise OSError(error, os.strerror(error))
    return int(answer[0]) & 0xFFFFFFFF in _MADE_UP
