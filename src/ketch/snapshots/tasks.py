"""Worker functions that store layers: hostile streams in, ``LayerInfo`` out.

Signature ``(args, fds) -> dict`` of the launcher's ``work`` operation; run without ``rootfs``.
"""

from __future__ import annotations

import os
from typing import BinaryIO, cast

import msgspec

from ketch.layers.compression import decompressed
from ketch.layers.diff import open_upper
from ketch.snapshots.diff_stream import DiffStream
from ketch.snapshots.probe import named
from ketch.snapshots.store import LayerStore

Args = dict[str, object]


def ingest(args: Args, fds: list[int]) -> Args:
    """Store the layer of a tar stream, compressed or not.

    ``{"root": data root, "snapshotter": "erofs"|"directory", "diff_id": expected or "", "limit":
    most uncompressed bytes or 0}``, fds ``[blob file or pipe]`` → ``LayerInfo`` as a dict. Raises
    ``DataCorrupt`` (malformed, or another diff ID than expected; nothing is stored then),
    ``InvalidParameter`` (hostile, or over the limit).
    """
    limit = args.get("limit")
    with os.fdopen(os.dup(fds[0]), "rb", 1 << 20) as raw:
        tar = decompressed(raw, limit=limit if isinstance(limit, int) else 0)
        info = _store(args).add_layer(
            tar, expected=str(args.get("diff_id") or ""), scratch=str(args.get("scratch") or "")
        )
    return _result(info)


def ingest_diff(args: Args, fds: list[int]) -> Args:
    """Store what a snapshot changed as a layer (commit, build steps).

    ``{"root", "snapshotter", "key": snapshot key, "newest": ns}`` → ``LayerInfo`` as a dict. With
    ``newest``, no file is younger in the layer.
    """
    newest = args.get("newest")
    latest = newest if isinstance(newest, int) else None
    store = _store(args)
    upper_fd = open_upper(store.upper(str(args["key"])))
    try:
        with DiffStream(upper_fd, latest) as tar:
            scratch = str(args.get("scratch") or "")
            return _result(store.add_layer(cast(BinaryIO, tar), scratch=scratch))
    finally:
        os.close(upper_fd)


def _store(args: Args) -> LayerStore:
    return named(str(args["snapshotter"]), str(args["root"]))


def _result(info: msgspec.Struct) -> Args:
    return dict(msgspec.structs.asdict(info))
