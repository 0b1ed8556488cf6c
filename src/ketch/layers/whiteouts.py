"""Whiteouts in both forms: ``.wh.`` files of layer tars, and what overlayfs keeps on disk.

Sources: OCI image-spec layer.md ("Whiteouts"); Documentation/filesystems/overlayfs.rst ("whiteouts
and opaque directories").
"""

from __future__ import annotations

import os
import stat

from ketch.errors import InvalidParameter
from ketch.layers.entry import shown

PREFIX = b".wh."
OPAQUE = b".wh..wh..opq"
RESERVED = b".wh..wh."
"""Names that AUFS kept for itself; old layers still carry them. They mean nothing."""

OPAQUE_XATTR = b"trusted.overlay.opaque"
_OVERLAY_XATTRS = (b"trusted.overlay.", b"user.overlay.")

REAL, WHITEOUT, OPAQUE_MARK, SKIP = range(4)


def classify(parts: list[bytes], name: bytes) -> int:
    """What an entry's components mean: ``REAL``, ``WHITEOUT``, ``OPAQUE_MARK`` or ``SKIP``.

    Raises ``InvalidParameter`` for whiteouts of ``""``, ``.`` and ``..``, and for a directory that
    has a whiteout's name.
    """
    last = len(parts) - 1
    for index, part in enumerate(parts):
        if not part.startswith(PREFIX):
            continue
        if part == OPAQUE and index == last:
            return OPAQUE_MARK
        if part.startswith(RESERVED):
            return SKIP
        if index != last or part[len(PREFIX) :] in (b"", b".", b".."):
            raise InvalidParameter(f"entry {shown(name)}: not a name that a whiteout can have")
        return WHITEOUT
    return REAL


def is_overlay_xattr(name: bytes) -> bool:
    """Whether overlayfs itself reads this attribute, so that no archive may set it."""
    return name.startswith(_OVERLAY_XATTRS)


def is_whiteout(info: os.stat_result) -> bool:
    """Whether an inode is overlayfs's whiteout: character device 0/0."""
    return stat.S_ISCHR(info.st_mode) and info.st_rdev == 0
