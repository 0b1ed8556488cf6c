"""The directory snapshotter: one plain directory per layer, beside the tar it came from.

For kernels that can't mount an EROFS image from a file; see ``ketch.snapshots.protocol``.
"""

from __future__ import annotations

import os
from collections.abc import Callable
from typing import BinaryIO

from ketch.layers.materialize import materialize
from ketch.layers.scan import Scan, scan
from ketch.linux.writeback import syncfs
from ketch.mounts import Mount
from ketch.snapshots.protocol import LayerInfo
from ketch.snapshots.store import LayerStore

_TREE = "fs"
_TAR = "layer.tar"


class DirectorySnapshotter(LayerStore):
    """A ``Snapshotter`` in the data root ``root`` (absolute path)."""

    name = "directory"

    def _write(
        self, tar: BinaryIO, directory: str, progress: Callable[[int], None] | None
    ) -> LayerInfo:
        path = os.path.join(directory, _TAR)
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
        try:
            found = scan(tar, fd, progress=progress)
            _unpack(found, os.path.join(directory, _TREE), fd)
            syncfs(fd)
        finally:
            os.close(fd)
        return LayerInfo(
            diff_id=found.diff_id,
            size=found.tree.size,
            tar_size=found.tar_size,
            entries=found.tree.entries,
        )

    def _lower(self, directory: str) -> Mount:
        return Mount("bind", os.path.join(directory, _TREE), options=("ro",))

    def open_tar(self, diff_id: str) -> BinaryIO:
        """The tar stream of a layer, byte for byte; raises ``NotFound``."""
        return open(os.path.join(self._existing_layer(diff_id), _TAR), "rb")


def _unpack(found: Scan, path: str, tar_fd: int) -> None:
    os.mkdir(path, 0o755)
    root_fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        materialize(found.tree, root_fd, tar_fd)
    finally:
        os.close(root_fd)
