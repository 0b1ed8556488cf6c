"""Which snapshotter this machine can have."""

from __future__ import annotations

from ketch.snapshots.protocol import Snapshotter


def open_snapshotter(root: str, wanted: str = "") -> Snapshotter:
    """The snapshotter called ``wanted`` (``erofs``, ``directory``), or the best that works.

    ``root`` is the data root; the answer is remembered there per kernel release. Raises
    ``InvalidParameter`` for an unknown name, ``Unsupported`` when erofs is asked for and the kernel
    can't mount an image file.
    """
    raise NotImplementedError
