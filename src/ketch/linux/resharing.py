"""Giving back pages that a forked process has written to and that are again what they were.

Whatever a CPython process does, it writes reference counts, and most are soon what they were. The
page stays the process's own all the same: the kernel does not look. So the launcher moves its
memory to a file in memory, mapped privately in its own place (``capture``), and a shim that has
come to rest compares the pages it has for itself with the file and drops those that are equal
(``give_back``; madvise(2), MADV_DONTNEED: the next access sees the file's page, which all share).

Between the comparison of a page and its dropping nothing may write to it, and neither may anything
between the copying of the memory and the mapping of the file. No Python code can promise that; a
few instructions that keep to registers can. They are in packaging/machine_code/resharing.s, for
x86-64; on other machines, and where memory may not be made executable, nothing is done here.
"""

import _signal  # type: ignore[import-not-found]
import ctypes
import os
from array import array

from ketch.linux import mountapi
from ketch.linux.libc import libc, memory_maps
from ketch.linux.memory import READ, SHARED, load_code, map_memory

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    Routine = Callable[[int, int, int], int]

_CODE = bytes.fromhex(
    "534154415541564889fb4989f44989d54531f64d39e674494c89ef488b33488b53084c8b5310b8120000000f05"
    "483b4308752e488b3b488b7308ba0300000041ba120000004d89e84c8b4b10b8090000000f05483b037509"
    "4883c31849ffc6ebb24c89f0415e415d415c5bc30f1f400053415441554889fb4989f44531edfc4d85e47435"
    "488b33488b7b08b900020000f348a7751b488b3bbe00100000ba04000000b81c0000000f0585c0750349ffc5"
    "4883c31049ffccebc64c89e8415d415c5bc3"
)
_SHARE = 0x70  # where the second routine begins
_PAGE = 4096
_SMALLEST = 128 * 1024  # bytes: less is not worth a mapping
_POPULATE_READ = 22
# proc_pid_pagemap(5): present, not a page of a file, mapped by nobody else
_PRESENT = 1 << 63
_FLAGS, _OWN = _PRESENT | 1 << 61 | 1 << 56, _PRESENT | 1 << 56
_CHUNK = 512  # entries of 8 bytes

_move: "Routine | None" = None
_share: "Routine | None" = None
_regions: "list[tuple[int, int, int]]" = []  # (start, length, where the original can be read)


def capture() -> int:
    """Move the memory of this process, which has one thread; returns how many bytes were moved.

    To be called once, before anything is forked.
    """
    if os.uname().machine != "x86_64" or os.sysconf("SC_PAGE_SIZE") != _PAGE:
        return 0
    try:
        _load()
        blocked = _signal.pthread_sigmask(_signal.SIG_BLOCK, _signal.valid_signals())
        try:
            return _capture()
        finally:
            _signal.pthread_sigmask(_signal.SIG_SETMASK, blocked)
    except OSError:
        return 0


def _load() -> None:
    """Make the routines callable; raises OSError where memory may not be executed."""
    global _move, _share
    code = load_code(_CODE)
    kind = ctypes.PYFUNCTYPE(ctypes.c_long, ctypes.c_void_p, ctypes.c_long, ctypes.c_long)
    _move, _share = kind(code), kind(code + _SHARE)


def _capture() -> int:
    assert _move is not None
    rows, size = array("Q"), 0
    for start, length in _writable():
        rows.extend((start, length, size))
        size += length
    file = _memory_file()
    try:
        os.ftruncate(file, size)
        moved = _move(rows.buffer_info()[0], len(rows) // 3, file)
        original = map_memory(size, READ, SHARED, file)
    finally:
        os.close(file)
    size = 0
    for index in range(0, moved * 3, 3):
        start, length, offset = rows[index : index + 3]
        _regions.append((start, length, original + offset))
        size += length
    return size


def _memory_file() -> int:
    """A file in memory without a name, in large folios where the kernel has them.

    Each fork maps all its pages and each exit unmaps them, which the kernel does folio by folio.
    """
    try:
        memory = mountapi.new_filesystem("tmpfs", [("huge", "always"), ("mode", "700")])
        try:
            return os.open(".", os.O_TMPFILE | os.O_RDWR | os.O_CLOEXEC, 0o600, dir_fd=memory)
        finally:
            os.close(memory)
    except OSError:  # no transparent huge pages, or no mounts
        return os.memfd_create("ketch-memory", os.MFD_CLOEXEC)


def populate() -> None:
    """See to it that what this process forks need not fault the captured pages in (Linux 5.14)."""
    for start, length, _ in _regions:
        libc.madvise(ctypes.c_void_p(start), ctypes.c_size_t(length), _POPULATE_READ)


def _writable() -> "list[tuple[int, int]]":
    """(start, length) of private writable memory: heap, arenas, the interpreter's variables."""
    found = []
    for line in memory_maps():
        words = line.split(None, 5)
        start, _, end = words[0].partition("-")
        length = int(end, 16) - int(start, 16)
        name = words[5] if len(words) > 5 else ""
        if words[1] == "rw-p" and length >= _SMALLEST and name != "[stack]":
            found.append(_in_use(int(start, 16), length))
    return [region for region in found if region[1] >= _SMALLEST]


def _in_use(start: int, length: int) -> "tuple[int, int]":
    """The part of a mapping from its first to its last page in use; nothing when most are not."""
    entries = array("Q")
    with open("/proc/self/pagemap", "rb", buffering=0) as pagemap:
        pagemap.seek(start // _PAGE * 8)
        entries.frombytes(pagemap.read(length // _PAGE * 8))
    used = [index for index, entry in enumerate(entries) if entry & _PRESENT]
    if len(used) * 2 < len(entries):
        return start, 0
    return start + used[0] * _PAGE, (used[-1] + 1 - used[0]) * _PAGE


def give_back() -> int:
    """Drop what is again as it was captured; returns how many pages were given back."""
    if not _regions or _share is None:
        return 0
    rows = array("Q")
    pagemap = os.open("/proc/self/pagemap", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for start, length, original in _regions:
            for first in range(0, length // _PAGE, _CHUNK):
                count = min(_CHUNK, length // _PAGE - first)
                entries = array("Q", os.pread(pagemap, count * 8, (start // _PAGE + first) * 8))
                for index, entry in enumerate(entries, first):
                    if entry & _FLAGS == _OWN:
                        rows.append(start + index * _PAGE)
                        rows.append(original + index * _PAGE)
    finally:
        os.close(pagemap)
    return _share(rows.buffer_info()[0], len(rows) // 2, 0)
