"""The erofs snapshotter: one EROFS image per layer, mounted file-backed and shared.

See ``ketch.snapshots.protocol``; the image holds the layer's tar byte for byte, see
``ketch.layers.erofs``.
"""

from __future__ import annotations

import io
import os
from collections.abc import Callable
from typing import BinaryIO, cast

from ketch.layers.erofs import DATA_START, finish_image
from ketch.layers.scan import Scan, scan
from ketch.layers.streams import FileWindow
from ketch.mounts import Mount
from ketch.snapshots.protocol import LayerInfo
from ketch.snapshots.store import LayerStore

_IMAGE = "layer.erofs"


class ErofsSnapshotter(LayerStore):
    """A ``Snapshotter`` in the data root ``root`` (absolute path)."""

    name = "erofs"

    def _write(
        self, tar: BinaryIO, directory: str, progress: Callable[[int], None] | None
    ) -> LayerInfo:
        return _image(directory, lambda fd: scan(tar, fd, at=DATA_START, progress=progress))

    def add_written(self, write: Callable[[int], Scan], scratch: str = "") -> LayerInfo:
        """``add_layer`` of a tar that ``write`` puts where an image's fd stands, in one pass with
        what a scan of it would find."""
        return self._add(lambda directory: _image(directory, write), "", scratch)

    def _lower(self, directory: str) -> Mount:
        return Mount("erofs", os.path.join(directory, _IMAGE), options=("ro",))

    def open_tar(self, diff_id: str) -> BinaryIO:
        """The tar stream of a layer, byte for byte; raises ``NotFound``."""
        info = self.layer(diff_id)
        path = os.path.join(self._layer_dir(diff_id), _IMAGE)
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
        window = FileWindow(fd, DATA_START, info.tar_size)
        return cast(BinaryIO, io.BufferedReader(window, 1 << 20))


def _image(directory: str, write: Callable[[int], Scan]) -> LayerInfo:
    path = os.path.join(directory, _IMAGE)
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        os.lseek(fd, DATA_START, os.SEEK_SET)
        found = write(fd)
        uuid = bytes.fromhex(found.diff_id[7:39])
        finish_image(fd, found.tree, found.tar_size, uuid)
        os.fsync(fd)
    finally:
        os.close(fd)
    return LayerInfo(
        diff_id=found.diff_id,
        size=found.tree.size,
        tar_size=found.tar_size,
        entries=found.tree.entries,
    )
