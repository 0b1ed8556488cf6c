"""One pass over a layer's tar: the bytes to a file, the digest, the tree of what is in it."""

from __future__ import annotations

import gc
import os
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from typing import BinaryIO

from ketch.layers.streams import Digester, write_all
from ketch.layers.tarread import TarReader
from ketch.layers.tree import Tree
from ketch.linux.writeback import start_writeback

_WRITEBACK = 8 << 20
_SMALLEST_HOLE = 64 << 10
_ZEROS = bytes(1 << 20)


class Scan:
    """What a pass found out: the ``tree``, the ``diff_id``, the stream's length ``tar_size``."""

    __slots__ = ("diff_id", "tar_size", "tree")

    def __init__(self, tree: Tree, diff_id: str, tar_size: int) -> None:
        self.tree = tree
        self.diff_id = diff_id
        self.tar_size = tar_size


def scan(
    tar: BinaryIO,
    fd: int,
    *,
    at: int = 0,
    progress: Callable[[int], None] | None = None,
    whiteouts: bool = True,
) -> Scan:
    """Copy an uncompressed tar stream to ``fd``, which stands at offset ``at``, and read it.

    ``progress`` gets the number of bytes read so far; ``whiteouts`` is as in ``Tree``. Raises
    what ``TarReader`` and ``Tree`` do, and OSError of the file.
    """
    copy = Copy(fd, at, progress)
    tree = Tree(whiteouts=whiteouts)
    try:
        with gc_off():
            for entry in TarReader(tar, copy.take):
                tree.add(entry)
        return Scan(tree, copy.digest.finish(), copy.end - at)
    finally:
        copy.digest.close()


class Copy:
    """A stream on its way to a file, where it begins ``at`` an offset: its digest, its length."""

    def __init__(self, fd: int, at: int, progress: Callable[[int], None] | None = None) -> None:
        self._fd = fd
        self._start = at
        self._progress = progress
        self._begun = at
        self.end = at
        self.digest = Digester()

    def take(self, chunk: bytes) -> None:
        """The next piece; large ones are best."""
        self.digest.update(chunk)
        if _is_hole(chunk):
            os.lseek(self._fd, len(chunk), os.SEEK_CUR)
        else:
            write_all(self._fd, chunk)
        self.end += len(chunk)
        if self.end - self._begun >= _WRITEBACK:
            start_writeback(self._fd, self._begun, self.end - self._begun)
            self._begun = self.end
        if self._progress is not None:
            self._progress(self.end - self._start)


def _is_hole(chunk: bytes) -> bool:
    """Whether to leave a piece out of the file, which reads as zeros there: a sparse file of a
    terabyte, or an archive of zeros, must not fill the disk."""
    return len(chunk) >= _SMALLEST_HOLE and _ZEROS.startswith(chunk)


@contextmanager
def gc_off() -> Iterator[None]:
    """No garbage collection: a million live nodes would be traversed again and again."""
    was_enabled = gc.isenabled()
    gc.disable()
    try:
        yield
    finally:
        if was_enabled:
            gc.enable()
