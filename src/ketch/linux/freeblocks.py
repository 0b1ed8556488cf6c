"""Using up the free blocks of CPython's small-object allocator before forking.

A forked process that allocates takes free blocks wherever older objects were freed, one here and
one there, and each makes a page of its own that was shared until then. With no free block left,
what it allocates lies close together on fresh pages: a shim keeps some hundred KB less to itself.

The allocator's own report (``sys._debugmallocstats``, CPython 3.11 ``Objects/obmalloc.c``) says how
many blocks of which size are free; an interpreter whose report looks different is left as it is.
"""

import os
import sys

_BYTES_OVERHEAD = 33  # of a bytes object, its final zero included
_INT, _BIG = 32, 1 << 40  # size class of an integer of two digits
_HEAP_SIZES = (32768, 16384, 8192, 4096, 2048, 1024, 700, 540)
_ENOUGH = 1000  # blocks
_kept: "list[list[object]]" = []


def use_up() -> int:
    """Fill the free blocks with objects that stay; returns how many there were."""
    filled = 0
    for size, free in _free_blocks():
        _kept.append(_fill(size, free))
        filled += free
    _fill_heap()
    return filled


def _fill(size: int, count: int) -> "list[object]":
    """``count`` objects of one size class."""
    if size > _BYTES_OVERHEAD:
        payload = size - _BYTES_OVERHEAD
        return [bytes(payload) for _ in range(count)]
    if size == _INT:
        return [_BIG + number for number in range(count)]
    return [object() for _ in range(count)]  # 16 bytes


def _fill_heap() -> None:
    """The same for the holes in the C library's heap, where everything above 512 bytes lives.

    A block that lies beyond all earlier ones shows that no hole of its size is left.
    """
    found: list[object] = []
    for size in _HEAP_SIZES:
        highest = 0
        for _ in range(_ENOUGH):
            block = bytes(size)
            found.append(block)
            if id(block) > highest and highest:
                break
            highest = max(highest, id(block))
    _kept.append(found)


def _free_blocks() -> "list[tuple[int, int]]":
    """(size in bytes, free blocks) of each size class that has any."""
    found = []
    for line in _report().splitlines():
        words = line.split()
        if len(words) == 5 and all(word.isdigit() for word in words) and int(words[4]):
            found.append((int(words[1]), int(words[4])))
    return found


def _report() -> str:
    """What ``sys._debugmallocstats`` writes to stderr."""
    file = os.memfd_create("mallocstats", os.MFD_CLOEXEC)
    stderr = os.dup(2)
    try:
        os.dup2(file, 2)
        sys._debugmallocstats()
        os.dup2(stderr, 2)
        os.lseek(file, 0, os.SEEK_SET)
        return os.read(file, 1 << 16).decode("utf-8", "replace")
    finally:
        os.close(stderr)
        os.close(file)
