"""Bringing the loopback interface of the caller's network namespace up (netdevice(7))."""

import _socket
import ctypes

from ketch.linux.libc import check, libc

_SIOCSIFFLAGS = 0x8914
_IFF_UP = 1


class _IfReq(ctypes.Structure):
    """struct ifreq, the part with the flags."""

    _fields_ = (
        ("name", ctypes.c_char * 16),
        ("flags", ctypes.c_short),
        ("padding", ctypes.c_char * 22),
    )


def loopback_up() -> None:
    """``ip link set lo up``; needs CAP_NET_ADMIN over the namespace."""
    control = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
    try:
        request = _IfReq(b"lo", _IFF_UP)
        number = ctypes.c_ulong(_SIOCSIFFLAGS)
        check(libc.ioctl(control.fileno(), number, ctypes.byref(request)), "lo")
    finally:
        control.close()
