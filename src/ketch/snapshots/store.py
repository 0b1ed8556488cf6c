"""What all snapshotters share: directories per layer and snapshot, trash, crash safety.

Layout in the data root: ``layers/<hex>/`` (with ``info.json``), ``snapshots/<key>/{upper,work}``,
``tmp/`` and ``trash/``. Everything is made complete in ``tmp``, or one of the ``Nests``, and
renamed into place; everything goes by a rename into ``trash``. ``apart/`` is like ``tmp``, for what
is to be stored far away.
"""

from __future__ import annotations

import errno
import fcntl
import os
import re
import shutil
import time
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator, Sequence
from contextlib import suppress
from typing import BinaryIO

import msgspec

from ketch.errors import Conflict, DataCorrupt, InvalidParameter, NotFound
from ketch.layers.remove import remove
from ketch.linux.inode_flags import spread_directories
from ketch.linux.nests import Nests
from ketch.linux.writeback import sync_directory
from ketch.mounts import Mount, Rootfs
from ketch.snapshots.protocol import LayerInfo, Usage
from ketch.snapshots.usage import measure

_DIFF_ID = re.compile(r"sha256:[0-9a-f]{64}")
_KEY = re.compile(r"[A-Za-z0-9][A-Za-z0-9_.-]{0,127}")
_TMP_PREFIXES = ("layer-", "snapshot-", "bundle-")
_BATCH = 200
_STACK_LINK = 3900  # bytes of one link's target; the kernel takes 4095


class LayerStore(ABC):
    """A ``Snapshotter`` but for the form of a layer, which subclasses give."""

    name = ""

    def __init__(self, root: str) -> None:
        self._root = root
        for child in ("layers", "snapshots", "tmp", "trash"):
            os.makedirs(os.path.join(root, child), mode=0o710, exist_ok=True)
        self._nests = Nests(root)

    # what a subclass says

    @abstractmethod
    def _write(
        self, tar: BinaryIO, directory: str, progress: Callable[[int], None] | None
    ) -> LayerInfo:
        """Store a tar stream's layer in an empty directory; durable but for the directory."""

    @abstractmethod
    def _lower(self, directory: str) -> Mount:
        """The layer in ``directory`` as one lower of a ``Rootfs``."""

    @abstractmethod
    def open_tar(self, diff_id: str) -> BinaryIO:
        """See the protocol."""

    # layers

    def add_layer(
        self,
        tar: BinaryIO,
        *,
        progress: Callable[[int], None] | None = None,
        expected: str = "",
        scratch: str = "",
    ) -> LayerInfo:
        """See the protocol; ``expected`` is a diff ID that the stream must turn out to have.

        ``scratch`` is a name under which somebody else can ``abandon`` the work when this process
        was killed in it.
        """
        return self._add(lambda place: self._write(tar, place, progress), expected, scratch)

    def _add(self, write: Callable[[str], LayerInfo], expected: str, scratch: str) -> LayerInfo:
        directory = self._nests.by_name("layer-" + (scratch or os.urandom(8).hex()))
        os.mkdir(directory, 0o710)
        held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            fcntl.flock(held, fcntl.LOCK_EX)
            info = write(directory)
            if expected and info.diff_id != expected:
                raise DataCorrupt(
                    f"the layer's uncompressed stream is {info.diff_id}, not {expected}"
                )
            return self._publish(directory, info)
        except BaseException:
            shutil.rmtree(directory, ignore_errors=True)
            raise
        finally:
            os.close(held)

    def abandon(self, scratch: str) -> None:
        """Delete what a killed process left of ``add_layer``; blocks until that process is gone."""
        name = f"layer-{scratch}"
        for directory in {self._nests.by_name(name), os.path.join(self._root, "tmp", name)}:
            self._abandon(directory)

    def _abandon(self, directory: str) -> None:
        try:
            held = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        except FileNotFoundError:
            return
        try:
            fcntl.flock(held, fcntl.LOCK_EX)  # the kernel lets go of it with the process
            shutil.rmtree(directory, ignore_errors=True)
        finally:
            os.close(held)

    def has_layer(self, diff_id: str) -> bool:
        """Whether the layer is stored."""
        return os.path.exists(os.path.join(self._layer_dir(diff_id), "info.json"))

    def layer(self, diff_id: str) -> LayerInfo:
        """Raises ``NotFound``."""
        try:
            with open(os.path.join(self._layer_dir(diff_id), "info.json"), "rb") as file:
                return msgspec.json.decode(file.read(), type=LayerInfo)
        except FileNotFoundError:
            raise NotFound(f"layer {diff_id} is not stored") from None

    def layers(self) -> Iterator[str]:
        """All stored diff IDs."""
        for name in sorted(os.listdir(os.path.join(self._root, "layers"))):
            yield f"sha256:{name}"

    def remove_layer(self, diff_id: str) -> None:
        """Forget a layer (renamed to the trash at once)."""
        self.discard(self._layer_dir(diff_id))

    # snapshots

    def prepare(self, key: str, layers: Sequence[str], *, apart: bool = False) -> None:
        """See the protocol."""
        for diff_id in layers:
            if not self.has_layer(diff_id):
                raise NotFound(f"layer {diff_id} is not stored")
        target = self._snapshot_dir(key)
        directory = self._apart("snapshot-") if apart else self._nest("snapshot-")
        try:
            os.mkdir(os.path.join(directory, "upper"), 0o755)
            os.mkdir(os.path.join(directory, "work"), 0o700)
            _write_stack(directory, layers)
            os.rename(directory, target)
        except OSError as error:
            self.discard(directory)
            if error.errno in (errno.ENOTEMPTY, errno.EEXIST):
                raise Conflict(f"snapshot {key} is there already") from None
            raise

    def rootfs(self, key: str, *, volatile: bool = False) -> Rootfs:
        """See the protocol."""
        directory = self._existing(key)
        lowers = self._lowers(_read_stack(directory))
        upper, work = os.path.join(directory, "upper"), os.path.join(directory, "work")
        return Rootfs(lowers, upper, work, volatile=volatile)

    def view(self, layers: Sequence[str]) -> Rootfs:
        """A read-only stack of layers as a value."""
        return Rootfs(self._lowers(layers))

    def upper(self, key: str) -> str:
        """The directory that holds what a snapshot changed."""
        return os.path.join(self._existing(key), "upper")

    def usage(self, key: str) -> Usage:
        """Space taken by what the snapshot changed."""
        return measure(self.upper(key))

    def snapshots(self) -> Iterator[str]:
        """All keys."""
        yield from sorted(os.listdir(os.path.join(self._root, "snapshots")))

    def remove(self, key: str) -> None:
        """Remove a writable snapshot (renamed to the trash at once)."""
        self.discard(self._snapshot_dir(key))

    # housekeeping

    def discard(self, path: str) -> None:
        """See the protocol."""
        trash = os.path.join(self._root, "trash", os.urandom(8).hex())
        try:
            os.rename(path, trash)
        except FileNotFoundError:
            pass

    def place(self, name: str) -> str:
        """See the protocol."""
        return self._nests.by_name(name)

    def unfinished(self, prefix: str) -> list[str]:
        """See the protocol."""
        found = self._nests.everything()
        return [path for path in found if os.path.basename(path).startswith(prefix)]

    def sweep_tmp(self) -> None:
        """At start: what a crash left in ``tmp`` and the like goes to the trash."""
        self._nests.prepare()
        for path in self._nests.everything(self._apart_root):
            if os.path.basename(path).startswith(_TMP_PREFIXES):
                self.discard(path)

    def sweep_trash(self, pause: float = 0.01) -> None:
        """Delete the trash slowly: ``pause`` seconds after every 200 inodes. Blocks."""
        deleted = 0

        def count() -> None:
            nonlocal deleted
            deleted += 1
            if deleted % _BATCH == 0 and pause:
                time.sleep(pause)

        fd = os.open(os.path.join(self._root, "trash"), os.O_RDONLY | os.O_DIRECTORY)
        try:
            for name in os.listdir(fd):
                remove(fd, os.fsencode(name), count)
        finally:
            os.close(fd)

    # inside

    @property
    def _apart_root(self) -> str:
        return os.path.join(self._root, "apart")

    def _apart(self, prefix: str) -> str:
        """A scratch directory in a block group of its own; its random name decides which."""
        with suppress(FileExistsError):
            os.mkdir(self._apart_root, 0o710)
            spread_directories(self._apart_root)
        path = os.path.join(self._apart_root, prefix + os.urandom(8).hex())
        os.mkdir(path, 0o710)
        return path

    def _nest(self, prefix: str) -> str:
        """A scratch directory in some other place than the one before."""
        path = self._nests.path(prefix + os.urandom(8).hex())
        os.mkdir(path, 0o710)
        return path

    def _publish(self, directory: str, info: LayerInfo) -> LayerInfo:
        """Rename a complete layer into place; one that is there already stays."""
        _write_durably(os.path.join(directory, "info.json"), msgspec.json.encode(info))
        sync_directory(directory)
        try:
            os.rename(directory, self._layer_dir(info.diff_id))
        except OSError as error:
            if error.errno not in (errno.ENOTEMPTY, errno.EEXIST):
                raise
            self.discard(directory)
        sync_directory(os.path.join(self._root, "layers"))
        return info

    def _lowers(self, layers: Sequence[str]) -> tuple[Mount, ...]:
        """Topmost first. Of a layer that is there twice only the upper one counts: it decides again
        whatever the lower one decided, and overlayfs refuses a directory that it has already."""
        topmost = dict.fromkeys(reversed(layers))
        return tuple(self._lower(self._layer_dir(diff_id)) for diff_id in topmost)

    def _existing_layer(self, diff_id: str) -> str:
        if not self.has_layer(diff_id):
            raise NotFound(f"layer {diff_id} is not stored")
        return self._layer_dir(diff_id)

    def _layer_dir(self, diff_id: str) -> str:
        if not _DIFF_ID.fullmatch(diff_id):
            raise InvalidParameter(f"{diff_id!r} is not a diff ID (sha256:<64 hex digits>)")
        return os.path.join(self._root, "layers", diff_id[7:])

    def _snapshot_dir(self, key: str) -> str:
        if not _KEY.fullmatch(key):
            raise InvalidParameter(f"{key!r} is not a snapshot key (letters, digits, _ . -)")
        return os.path.join(self._root, "snapshots", key)

    def _existing(self, key: str) -> str:
        directory = self._snapshot_dir(key)
        if not os.path.isdir(directory):
            raise NotFound(f"no snapshot {key}")
        return directory


def _write_stack(directory: str, layers: Sequence[str]) -> None:
    """Keep a snapshot's layers as targets of symbolic links ``layers.0``, ``layers.1``…

    Links are metadata: a journal writes them together with the directory that holds them, so they
    need no fsync on the way of a container's start.
    """
    per_link = _STACK_LINK // 65
    for number, start in enumerate(range(0, len(layers), per_link)):
        target = ":".join(layer[7:] for layer in layers[start : start + per_link])
        os.symlink(target, os.path.join(directory, f"layers.{number}"))


def _read_stack(directory: str) -> list[str]:
    layers: list[str] = []
    number = 0
    while True:
        try:
            target = os.readlink(os.path.join(directory, f"layers.{number}"))
        except FileNotFoundError:
            return layers
        layers += [f"sha256:{digits}" for digits in target.split(":")]
        number += 1


def _write_durably(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o640)
    try:
        os.write(fd, data)
        os.fsync(fd)
    finally:
        os.close(fd)
