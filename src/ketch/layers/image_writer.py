"""A layer's tar and its tree in one pass, from entries whose contents are in a file.

What ``tarwrite`` would write and ``scan`` would read of it, for who has the entries in memory.
"""

from __future__ import annotations

import os

from ketch.layers.entry import Entry
from ketch.layers.erofs import DATA_START
from ketch.layers.scan import Copy, Scan
from ketch.layers.tarwrite import BLOCK, headers
from ketch.layers.tree import Tree

_PIECE = 1 << 20


class ImageWriter:
    """Fills the image ``fd``, which stands at its data's start, with contents of ``source``.

    ``close`` it whatever happens.
    """

    def __init__(self, fd: int, source: int) -> None:
        self._copy = Copy(fd, DATA_START)
        self._source = source
        self._tree = Tree()
        self._waiting: list[bytes] = []
        self._flushed = self._position = 0
        self.entries = 0

    def add(self, entry: Entry, content: int = -1) -> None:
        """Append an entry; the content of a regular file is at that offset of the source."""
        self._write(headers(entry))
        entry.offset = self._position
        self._tree.add(entry)
        self.entries += 1
        if entry.is_file:
            self._write_content(content, entry.size)

    def _write_content(self, offset: int, size: int) -> None:
        left = size
        while left:
            data = os.pread(self._source, min(left, _PIECE), offset)
            if not data:
                raise EOFError("the source of a layer ends early")
            self._write(data)
            offset, left = offset + len(data), left - len(data)
        self._write(bytes(-size % BLOCK))

    def _write(self, data: bytes) -> None:
        self._waiting.append(data)
        self._position += len(data)
        if self._position - self._flushed >= _PIECE:
            self._flush()

    def _flush(self) -> None:
        self._copy.take(b"".join(self._waiting))
        self._flushed = self._position
        self._waiting.clear()

    def finish(self) -> Scan:
        """End the archive; what a scan of it would find."""
        self._write(bytes(2 * BLOCK))
        self._flush()
        return Scan(self._tree, self._copy.digest.finish(), self._position)

    def close(self) -> None:
        """End what works beside."""
        self._copy.digest.close()
