"""The snapshotter protocol: layers and writable snapshots.

Glossary
    *layer*: the read-only file tree of one tar stream, keyed by its **diff ID** (``sha256:…`` of
    the uncompressed tar) and shared by every image that holds it.
    *snapshot*: a writable directory pair over a stack of layers, keyed by a string of the caller's
    (a container ID, a build step).

Life cycle: ``add_layer`` (in a worker, since the tar is hostile) → ``prepare(key, layers)`` →
``rootfs(key)`` as often as wanted → ``remove(key)`` → ``remove_layer``. Calling ``add_layer`` for a
layer that is there returns it unchanged; ``prepare`` of a key that is there raises ``Conflict``;
``remove`` of what is not there is no error. Nothing here mounts: results are ``Rootfs`` values.

Durability: when ``add_layer`` returns, the layer survives a power cut. A crash in the middle leaves
only something in ``tmp`` that the next start sweeps.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Sequence
from typing import BinaryIO, Protocol

import msgspec

from ketch.mounts import Rootfs


class LayerInfo(msgspec.Struct, frozen=True, kw_only=True):
    """One stored layer: ``size`` is the sum of its file sizes, ``tar_size`` of its tar stream."""

    diff_id: str
    size: int
    tar_size: int
    entries: int


class Usage(msgspec.Struct, frozen=True, kw_only=True):
    """Disk space of a writable snapshot."""

    size: int
    inodes: int


class Snapshotter(Protocol):
    """See the module's docstring. All methods block; none is called on the event loop's hot path
    but ``prepare``, ``rootfs`` and ``has_layer``, which touch a handful of inodes at most."""

    name: str

    def add_layer(
        self, tar: BinaryIO, *, progress: Callable[[int], None] | None = None
    ) -> LayerInfo:
        """Store the layer of an uncompressed tar stream, durably; ``progress`` gets bytes read.

        Raises ``DataCorrupt`` for a malformed tar, ``InvalidParameter`` for a hostile one (paths
        that leave the tree…), OSError (ENOSPC) with nothing left behind.
        """

    def abandon(self, scratch: str) -> None:
        """Delete what a killed process left of a layer that it wrote under this name. Blocks."""

    def has_layer(self, diff_id: str) -> bool:
        """Whether the layer is stored."""

    def layer(self, diff_id: str) -> LayerInfo:
        """Raises ``NotFound``."""

    def layers(self) -> Iterator[str]:
        """All stored diff IDs."""

    def open_tar(self, diff_id: str) -> BinaryIO:
        """The tar stream of a layer, byte for byte (its SHA-256 is the diff ID)."""

    def remove_layer(self, diff_id: str) -> None:
        """Forget a layer (renamed to the trash at once)."""

    def prepare(self, key: str, layers: Sequence[str], *, apart: bool = False) -> None:
        """Make a writable snapshot over ``layers`` (diff IDs, base first).

        ``apart`` is for one that gets many files and soon goes, as that of a build's step: its
        inodes are far from those that the one before has just given back. ext4 without a journal
        reuses none for minutes and passes by all of them for each new file: half the time of a
        step that installs packages.
        """

    def rootfs(self, key: str, *, volatile: bool = False) -> Rootfs:
        """The writable snapshot as a value; raises ``NotFound``.

        ``volatile``, as in ``Rootfs``, is for one whose changes become a layer or nothing.
        """

    def view(self, layers: Sequence[str]) -> Rootfs:
        """A read-only stack of layers as a value."""

    def upper(self, key: str) -> str:
        """The directory that holds what a snapshot changed."""

    def usage(self, key: str) -> Usage:
        """Space taken by what the snapshot changed."""

    def snapshots(self) -> Iterator[str]:
        """All keys."""

    def remove(self, key: str) -> None:
        """Remove a writable snapshot (renamed to the trash at once)."""

    def place(self, name: str) -> str:
        """Where to make something that is of no use after a crash: a path in ``tmp``, or elsewhere
        in the data root where inodes are quicker to come by."""

    def unfinished(self, prefix: str) -> list[str]:
        """What is at such places and begins so."""

    def discard(self, path: str) -> None:
        """Rename a directory of the data root to the trash; no error if it is not there."""
