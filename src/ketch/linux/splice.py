"""Pipes: how much is in them, how much fits, and moving it without copying (splice(2))."""

import fcntl
import os
import sys

_FIONREAD = 0x541B  # asm-generic/ioctls.h; the same on all architectures that ketch runs on
_FOUR_BYTES = b"\0\0\0\0"

_MOVE, _NONBLOCK = 1, 2
PIPE_MAX = 1 << 20  # the default of /proc/sys/fs/pipe-max-size


def readable_bytes(fd: int) -> int:
    """Bytes that a read would find now (ioctl FIONREAD)."""
    return int.from_bytes(fcntl.ioctl(fd, _FIONREAD, _FOUR_BYTES), sys.byteorder)


def grow_pipe(fd: int, size: int = PIPE_MAX) -> bool:
    """Make a pipe hold ``size`` bytes; false, and as it was, where that is refused (pipe(7))."""
    try:
        fcntl.fcntl(fd, fcntl.F_SETPIPE_SZ, size)
    except OSError:
        return False
    return True


def move(source: int, target: int, count: int) -> int:
    """Move at most ``count`` bytes from a pipe to a socket or pipe; BlockingIOError when none can.

    A socket as target must be non-blocking by itself: SPLICE_F_NONBLOCK speaks of the pipe only.
    """
    return os.splice(source, target, count, flags=_MOVE | _NONBLOCK)
