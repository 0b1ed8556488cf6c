"""Loop devices (loop(4)): for kernels that cannot mount an EROFS image as a file (before 6.12)."""

import ctypes
import os

from ketch.linux.libc import check, libc

_GET_FREE, _CONFIGURE = 0x4C82, 0x4C0A
_READ_ONLY, _AUTOCLEAR = 1, 4


class _LoopConfig(ctypes.Structure):
    """struct loop_config with the fields of struct loop_info64 that are used here."""

    _fields_ = (
        ("fd", ctypes.c_uint32),
        ("block_size", ctypes.c_uint32),
        ("before_flags", ctypes.c_char * 52),
        ("flags", ctypes.c_uint32),
        ("after_flags", ctypes.c_char * 176),
        ("reserved", ctypes.c_uint64 * 8),
    )


def attach_read_only(path: str) -> "tuple[str, int]":
    """A loop device over ``path``: (device path, fd that keeps it until it is mounted).

    The device goes away by itself after the last close or unmount (Linux 5.8).
    """
    control = os.open("/dev/loop-control", os.O_RDWR | os.O_CLOEXEC)
    backing = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        while True:
            index = check(libc.ioctl(control, ctypes.c_ulong(_GET_FREE)))
            device = f"/dev/loop{index}"
            fd = os.open(device, os.O_RDONLY | os.O_CLOEXEC)
            config = _LoopConfig(fd=backing, flags=_READ_ONLY | _AUTOCLEAR)
            if libc.ioctl(fd, ctypes.c_ulong(_CONFIGURE), ctypes.byref(config)) == 0:
                return device, fd
            os.close(fd)
            if ctypes.get_errno() != 16:  # EBUSY: somebody else took it first
                check(-1, device)
    finally:
        os.close(backing)
        os.close(control)
