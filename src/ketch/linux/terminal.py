"""Pseudo-terminals without path lookups (pty(7), ioctl_tty(2))."""

import ctypes
import os

from ketch.linux.libc import check, libc

TIOCSCTTY, _TIOCSWINSZ = 0x540E, 0x5414
_TIOCSPTLCK, _TIOCGPTPEER = 0x40045431, 0x5441


def open_pair(ptmx_dir: int) -> "tuple[int, int]":
    """(master, slave) of a new pty on the devpts instance whose root is ``ptmx_dir``.

    The slave comes from TIOCGPTPEER (Linux 4.13), so no name inside the container matters.
    """
    flags = os.O_RDWR | os.O_NOCTTY | os.O_CLOEXEC
    master = os.open("ptmx", flags | os.O_NOFOLLOW, dir_fd=ptmx_dir)
    check(libc.ioctl(master, ctypes.c_ulong(_TIOCSPTLCK), ctypes.byref(ctypes.c_int(0))))
    slave = check(libc.ioctl(master, ctypes.c_ulong(_TIOCGPTPEER), ctypes.c_long(flags)))
    return master, slave


def set_controlling(fd: int) -> None:
    """Make ``fd`` the controlling terminal of the caller, a session leader."""
    check(libc.ioctl(fd, ctypes.c_ulong(TIOCSCTTY), ctypes.c_long(0)))


def set_window(fd: int, rows: int, columns: int) -> None:
    """struct winsize; the foreground process group gets SIGWINCH."""
    size = (ctypes.c_ushort * 4)(rows & 0xFFFF, columns & 0xFFFF, 0, 0)
    check(libc.ioctl(fd, ctypes.c_ulong(_TIOCSWINSZ), ctypes.byref(size)))
