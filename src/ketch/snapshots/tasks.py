"""Worker functions that store layers: hostile streams in, ``LayerInfo`` out.

Signature ``(args, fds) -> dict`` of the launcher's ``work`` operation; run without ``rootfs``.
"""

from __future__ import annotations

import io
import os
import threading
from typing import BinaryIO, cast

import msgspec

from ketch.layers.compression import decompressed
from ketch.layers.diff import open_upper, write_diff
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
        with _DiffStream(upper_fd, latest) as tar:
            scratch = str(args.get("scratch") or "")
            return _result(store.add_layer(cast(BinaryIO, tar), scratch=scratch))
    finally:
        os.close(upper_fd)


class _DiffStream(io.RawIOBase):
    """The diff of an upper directory as a stream, written by a thread into a pipe.

    An error of the thread is raised at the end of the stream, so that no cut tar looks whole.
    """

    def __init__(self, upper_fd: int, newest: int | None) -> None:
        self._upper_fd = upper_fd
        self._newest = newest
        self._error: BaseException | None = None
        read_fd, self._write_fd = os.pipe()
        self._pipe: BinaryIO = os.fdopen(read_fd, "rb", 1 << 20)
        self._thread = threading.Thread(target=self._run, daemon=True)
        self._thread.start()

    def _run(self) -> None:
        try:
            with os.fdopen(self._write_fd, "wb", 1 << 20) as out:
                write_diff(self._upper_fd, out, self._newest)
        except BaseException as error:
            self._error = error

    def readable(self) -> bool:
        return True

    def read(self, size: int = -1) -> bytes:
        """Up to ``size`` bytes; empty at the end only."""
        data = self._pipe.read(size)
        if not data:
            self._thread.join()
            if self._error is not None:
                raise self._error
        return data

    def close(self) -> None:
        if not self.closed:
            self._pipe.close()
            self._thread.join()
        super().close()


def _store(args: Args) -> LayerStore:
    return named(str(args["snapshotter"]), str(args["root"]))


def _result(info: msgspec.Struct) -> Args:
    return dict(msgspec.structs.asdict(info))
