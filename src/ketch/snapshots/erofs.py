"""The erofs snapshotter: one EROFS image per layer; see ``ketch.snapshots.protocol``."""

from __future__ import annotations


class ErofsSnapshotter:
    """A ``Snapshotter`` in the data root ``root`` (absolute path)."""

    name = "erofs"

    def __init__(self, root: str) -> None:
        raise NotImplementedError

    def sweep_tmp(self) -> None:
        """At start: what a crash left in ``tmp`` goes to the trash."""

    def sweep_trash(self, pause: float = 0.01) -> None:
        """Delete the trash slowly: ``pause`` seconds after every 200 inodes. Blocks."""
