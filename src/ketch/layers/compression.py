"""Compressed streams, in process: told apart by their magic, read with a bound, written the same
way every time. No program of the machine or of a container is ever run for it.
"""

from __future__ import annotations

from typing import BinaryIO


def detect(head: bytes) -> str:
    """``gzip``, ``zstd``, ``bzip2``, ``xz`` or ``none`` by the first six bytes of a stream."""
    raise NotImplementedError


def decompressed(raw: BinaryIO, *, limit: int = 0) -> BinaryIO:
    """The uncompressed stream of ``raw``, whatever its compression.

    ``limit`` in bytes (0 = none): reading more raises ``InvalidParameter`` (a bomb). Broken or
    truncated data raises ``DataCorrupt``.
    """
    raise NotImplementedError


def compress(source: BinaryIO, out: BinaryIO, kind: str = "gzip") -> None:
    """Copy ``source`` into ``out`` as ``gzip`` (level 1, several threads, no time stamp), ``zstd``
    or ``none``; the same input gives the same output."""
    raise NotImplementedError
