"""What a snapshot changed: an overlay's upper directory as a layer tar or as a list of changes."""

from __future__ import annotations

from collections.abc import Iterator
from typing import BinaryIO


def write_diff(upper_fd: int, out: BinaryIO) -> int:
    """Write the upper directory as an uncompressed layer tar (OCI image-spec, layer.md) with
    ``.wh.`` files; paths sorted; returns the number of entries."""
    raise NotImplementedError


def changes(upper_fd: int, lower_fd: int) -> Iterator[tuple[str, int]]:
    """``(path, kind)`` sorted by path, as ``docker diff``: 0 modified, 1 added, 2 deleted.

    ``lower_fd`` is the root of the read-only stack below.
    """
    raise NotImplementedError
