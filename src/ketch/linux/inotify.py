"""inotify(7): being told that files change."""

import ctypes
import os
from struct import Struct

from ketch.linux.libc import check, libc, path_bytes

MODIFY = 0x002
MOVED_FROM, MOVED_TO = 0x040, 0x080
CREATE, DELETE = 0x100, 0x200
DELETE_SELF = 0x400
IGNORED = 0x8000
OVERFLOW = 0x4000

_NONBLOCK, _CLOEXEC = os.O_NONBLOCK, os.O_CLOEXEC
_EVENT = Struct("=iIII")


def create() -> int:
    """A non-blocking inotify instance; EMFILE beyond fs.inotify.max_user_instances."""
    return check(libc.inotify_init1(_NONBLOCK | _CLOEXEC))


def add(fd: int, path: str, mask: int) -> int:
    """Watch ``path``; the same path gives the same watch number again."""
    return check(libc.inotify_add_watch(fd, path_bytes(path), ctypes.c_uint32(mask)), path)


def remove(fd: int, watch: int) -> None:
    """Stop; EINVAL when the watched file is gone."""
    check(libc.inotify_rm_watch(fd, watch))


def read(fd: int) -> "list[tuple[int, int, bytes]]":
    """The events that are there: (watch, mask, name); empty when there are none."""
    try:
        data = os.read(fd, 65536)
    except BlockingIOError:
        return []
    events: list[tuple[int, int, bytes]] = []
    offset = 0
    while offset < len(data):
        watch, mask, _cookie, length = _EVENT.unpack_from(data, offset)
        offset += _EVENT.size
        events.append((watch, mask, data[offset : offset + length].rstrip(b"\0")))
        offset += length
    return events
