"""Mapping memory, and making it executable, without the interpreter's ``mmap`` module."""

import ctypes
import os

from ketch.linux.libc import libc

READ, WRITE, EXECUTE = 1, 2, 4
SHARED, PRIVATE, ANONYMOUS, NO_RESERVE = 1, 2, 0x20, 0x4000
_DONTNEED = 4


def map_memory(length: int, protection: int, flags: int, file: int = -1) -> int:
    """mmap(2) of ``length`` bytes from the beginning of ``file``: the address; raises OSError."""
    function = libc.mmap
    function.restype = ctypes.c_void_p
    size, offset = ctypes.c_size_t(length), ctypes.c_long(0)
    address: int | None = function(None, size, protection, flags, file, offset)
    if address is None or address == ctypes.c_void_p(-1).value:
        raise OSError(ctypes.get_errno(), "mmap")
    return address


def unmap_memory(address: int, length: int) -> None:
    """munmap(2)."""
    libc.munmap(ctypes.c_void_p(address), ctypes.c_size_t(length))


def clear_memory(address: int, length: int) -> None:
    """Give back the pages of a private mapping, which are zero from then on (madvise(2))."""
    libc.madvise(ctypes.c_void_p(address), ctypes.c_size_t(length), _DONTNEED)


def load_code(code: bytes) -> int:
    """The address of machine code that may be called; what is forked has it too.

    Raises OSError where memory that was written to may not be executed (SELinux, ``execmem``).
    """
    address = map_memory(len(code), READ | WRITE, PRIVATE | ANONYMOUS)
    ctypes.memmove(address, code, len(code))
    size = ctypes.c_size_t(len(code))
    if libc.mprotect(ctypes.c_void_p(address), size, READ | EXECUTE):
        raise OSError(ctypes.get_errno(), os.strerror(ctypes.get_errno()))
    return address
