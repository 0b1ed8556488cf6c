"""Worker functions that store layers: hostile streams in, ``LayerInfo`` out.

Signature ``(args, fds) -> dict`` of the launcher's ``work`` operation; run without ``rootfs``.
"""

from __future__ import annotations

Args = dict[str, object]


def ingest(args: Args, fds: list[int]) -> Args:
    """Store the layer of a tar stream, compressed or not.

    ``{"root": data root, "snapshotter": "erofs"|"directory", "diff_id": expected or "", "limit":
    most uncompressed bytes or 0}``, fds ``[blob file or pipe]`` → ``LayerInfo`` as a dict. Raises
    ``DataCorrupt`` (malformed, or another diff ID than expected; nothing is stored then),
    ``InvalidParameter`` (hostile, or over the limit).
    """
    raise NotImplementedError


def ingest_diff(args: Args, fds: list[int]) -> Args:
    """Store what a snapshot changed as a layer (commit, build steps).

    ``{"root", "snapshotter", "key": snapshot key}`` → ``LayerInfo`` as a dict.
    """
    raise NotImplementedError
