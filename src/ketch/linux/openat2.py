"""openat2(2): open a path that can't lead out of a directory (Linux 5.6)."""

from __future__ import annotations

import ctypes
import os

_SYS_OPENAT2 = 437  # one number on all architectures
_libc = ctypes.CDLL(None, use_errno=True)

RESOLVE_NO_XDEV = 0x01
RESOLVE_NO_MAGICLINKS = 0x02
RESOLVE_NO_SYMLINKS = 0x04
RESOLVE_BENEATH = 0x08
RESOLVE_IN_ROOT = 0x10


class _OpenHow(ctypes.Structure):
    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("mode", ctypes.c_uint64),
        ("resolve", ctypes.c_uint64),
    )


def openat2(dir_fd: int, path: bytes, flags: int, *, mode: int = 0, resolve: int = 0) -> int:
    """A new fd (always close-on-exec); raises OSError with the path.

    EXDEV or ELOOP say that the path would have left the directory; EAGAIN, that something was
    renamed meanwhile, is tried again.
    """
    how = _OpenHow(flags | os.O_CLOEXEC, mode, resolve)
    for _ in range(100):
        fd: int = _libc.syscall(
            _SYS_OPENAT2, dir_fd, ctypes.c_char_p(path), ctypes.byref(how), ctypes.sizeof(how)
        )
        if fd >= 0:
            return fd
        error = ctypes.get_errno()
        if error != 11:  # EAGAIN
            break
    raise OSError(error, os.strerror(error), os.fsdecode(path))
