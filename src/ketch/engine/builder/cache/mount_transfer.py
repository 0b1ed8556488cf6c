"""Contents of cache mounts on their way between machines, with the cache of a build.

What a step's cache held goes away as one archive (``--cache-to …,cache-mounts=…``), while nobody
writes to it. It comes back (``--cache-from …,cache-mounts=…``) when a step is about to run whose
cache does not exist here or is empty: what a machine has is never replaced. Archives are hostile: a
worker unpacks them, within the size that was announced, and a failure only costs the contents.
"""

from __future__ import annotations

import asyncio
import os
import shutil
import stat
from contextlib import contextmanager
from typing import TYPE_CHECKING, BinaryIO, cast

from ketch.content.threads import completed
from ketch.engine.builder.cache.config import MountContent
from ketch.engine.builder.cache.mounts import LOCKED, MountKey, Owner, size_of
from ketch.engine.images.manifests import Piece
from ketch.engine.images.tree import layer_type
from ketch.engine.storing import storing
from ketch.errors import InvalidParameter, KetchError
from ketch.mounts import Mount, Rootfs
from ketch.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

    from ketch.build.executor import StepMount
    from ketch.build.progress.events import Report
    from ketch.build.request.cache_options import CacheExport
    from ketch.engine.builder.cache.importing import CacheSources
    from ketch.engine.builder.cache.mounts import Fill
    from ketch.engine.builder.room import BuildRoom
    from ketch.state.leases import Lease

_SLACK = 1 << 20  # bytes that a compressed archive may be larger than it is without


class Packed(MountContent, frozen=True):
    """An archive that was made here."""

    piece: Piece


class MountTransfer:
    """That of one build."""

    def __init__(self, room: BuildRoom, sources: CacheSources) -> None:
        self._room = room
        self._sources = sources
        self._used: dict[MountKey, StepMount] = {}
        self._restored = 0  # bytes

    def used(self, mounts: Iterable[StepMount]) -> None:
        """The build has a step with these."""
        for mount in mounts:
            if mount.type == "cache":
                self._used.setdefault(key_of(mount), mount)

    # coming

    def filling(self, mount: StepMount, otherwise: Fill | None, file: str = "") -> Fill | None:
        """How a new directory is filled: from a source of the build, or ``otherwise``. With the
        name of a ``file``, that is all that is mounted of it."""
        if not any(source.mounts.wants(mount.id) for source in self._room.options.cache_imports):
            return otherwise

        async def fill(path: str) -> None:
            if not await self._restore(mount, path, file) and otherwise is not None:
                await otherwise(path)

        return fill

    async def _restore(self, mount: StepMount, path: str, file: str) -> bool:
        """Put what a source has into an empty directory; whether it is there."""
        found = await self._sources.mount(key_of(mount))
        if found is None:
            return False
        content, chosen, bring = found
        report = self._room.reporting(f"importing cache mount {mount.id}")
        try:
            self._check(content, chosen.most)
            with self._room.parts.images.exporter.lease() as lease:
                lease.add(content.blob.digest)
                await bring(content.blob)
                await self._unpack(content, path, file)
        except KetchError as error:
            report.warn(f"the cache mount {mount.id} begins without what it held: {error}")
            report.end()
            return False
        self._restored += content.size
        report.end()
        return True

    def _check(self, content: MountContent, most: int) -> None:
        if self._restored + content.size > most:
            raise InvalidParameter(
                f"it has {content.size} bytes, and all may have {most} (cache-mounts-max)"
            )
        if content.blob.size > content.size + _SLACK:
            raise InvalidParameter("its archive is larger than what it holds: refused")

    async def _unpack(self, content: MountContent, path: str, file: str) -> None:
        """Beside the directory first, so that one that breaks off leaves nothing in it."""
        parts = self._room.parts
        scratch = self._room.make_directory(f"mount-{os.path.basename(path)}")
        try:
            args = {"dockerfile": "", "limit": content.size}
            with (
                parts.images.blobs.open(content.blob.digest) as blob,
                _directory(scratch) as fd,
                storing("a cache mount"),
            ):
                fds = [blob.fileno(), fd]
                await parts.launcher.work("ketch.build.tasks.serving:receive", args, fds)
            if file and not is_file(scratch, file):
                raise InvalidParameter(f"it has no file {file}")
            before = os.stat(path)
            os.chown(scratch, before.st_uid, before.st_gid)
            os.chmod(scratch, before.st_mode)
            os.rename(scratch, path)
        except BaseException:
            await asyncio.to_thread(shutil.rmtree, scratch, ignore_errors=True)
            raise

    # going

    async def pack(self, export: CacheExport, lease: Lease, report: Report) -> list[Packed]:
        """Archives of what is wanted, in the order in which the build first came to it."""
        chosen, left, found = export.mounts, export.mounts.most, []
        for id in chosen.ids:
            if not any(key.id == id for key in self._used):
                report.warn(f"no step of the build has the cache mount {id!r}")
        for key, mount in self._used.items():
            if not chosen.wants(key.id):
                continue
            packed = await self._packed(key, mount, export, left, lease, report)
            if packed is not None:
                left -= packed.size
                found.append(packed)
        return found

    async def _packed(
        self,
        key: MountKey,
        mount: StepMount,
        export: CacheExport,
        left: int,
        lease: Lease,
        report: Report,
    ) -> Packed | None:
        """What a source had of a mount that no step has used here goes on with the cache."""
        caches = self._room.caches
        fill = self.filling(mount, None)
        if not caches.has(key) and fill is None:
            return None
        owner = Owner(mount.mode, mount.uid, mount.gid)
        async with caches.lease(key, LOCKED, owner, fill) as path:
            if not os.listdir(path):
                return None
            size = await asyncio.to_thread(size_of, path)
            report.status(key.id, "packing cache mount", 0, size)
            try:
                async with self._room.parts.images.hold():  # until the lease has it
                    packed = await self._archive(key, path, export, left, lease)
            except _TooLarge:
                report.warn(
                    f"the cache mount {key.id} stays here: it has about {size} bytes, and"
                    f" {left} are left of cache-mounts-max={export.mounts.most}"
                )
                return None
            report.status(key.id, "packed cache mount", size, size)
            return packed

    async def _archive(
        self, key: MountKey, path: str, export: CacheExport, left: int, lease: Lease
    ) -> Packed:
        """By a worker that has nothing but the directory; compressed as the layers are."""
        parts = self._room.parts
        reading, writing = os.pipe2(os.O_CLOEXEC)
        counted = _Counted(os.fdopen(reading, "rb", 1 << 20), left)
        tree = Rootfs((Mount("bind", path),))
        compressing = asyncio.create_task(completed(self._compress, counted, export))
        try:
            await parts.launcher.work("ketch.layers.archive:export", {}, [writing], tree)
        except BaseException:
            os.close(writing)
            await compressing  # its failure, if it failed, is why the worker did
            raise
        os.close(writing)
        digest, size = await compressing
        lease.add(digest)
        blob = Descriptor(media_type=layer_type(export.compression), digest=digest, size=size)
        opened = parts.images.blobs.open
        return Packed(key, blob, counted.read_bytes, Piece(blob, lambda: opened(digest)))

    def _compress(self, counted: _Counted, export: CacheExport) -> tuple[str, int]:
        with counted:
            source = cast(BinaryIO, counted)
            return self._room.parts.images.blobs.compressed(
                source, export.compression, export.level
            )


class _TooLarge(Exception):
    pass


class _Counted:
    """An archive that is read to its end, or to one byte more than allowed."""

    def __init__(self, file: BinaryIO, most: int) -> None:
        self._file = file
        self._most = most
        self.read_bytes = 0

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(size)
        self.read_bytes += len(data)
        if self.read_bytes > self._most:
            raise _TooLarge
        return data

    def __enter__(self) -> _Counted:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()  # the worker notices


def is_file(directory: str, name: str) -> bool:
    """Whether a directory has a regular file of that name. What others filled may have a link there
    instead, which would be mounted from wherever it leads to on the host."""
    try:
        return stat.S_ISREG(os.lstat(f"{directory}/{name}").st_mode)
    except OSError:
        return False


def key_of(mount: StepMount) -> MountKey:
    """Which cache a mount means."""
    return MountKey(mount.id, mount.base)


@contextmanager
def _directory(path: str) -> Iterator[int]:
    fd = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        yield fd
    finally:
        os.close(fd)
