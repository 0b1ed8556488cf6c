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
_kept: "list[list[bytes]]" = []


def use_up() -> int:
    """Fill the free blocks with objects that stay; returns how many there were."""
    filled = 0
    for size, free in _free_blocks():
        if size > _BYTES_OVERHEAD:
            payload = size - _BYTES_OVERHEAD
            _kept.append([bytes(payload) for _ in range(free)])
            filled += free
    return filled


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
