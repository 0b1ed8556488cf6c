"""What the image modules work with: one value instead of a dozen parameters."""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from ketch.distribution.hosts import RegistrySettings
from ketch.engine.containers.record import ContainerRecord
from ketch.engine.images.store import ImageStore
from ketch.engine.storing import storing
from ketch.errors import KetchError, Unavailable
from ketch.oci import image as image_format
from ketch.oci.digest import is_digest
from ketch.snapshots.protocol import LayerInfo
from ketch.state.leases import Leases

if TYPE_CHECKING:
    from ketch.content.store import ContentStore
    from ketch.engine.events.events import Events
    from ketch.runtime.remote import Launcher
    from ketch.snapshots.protocol import Snapshotter
    from ketch.snapshots.store import LayerStore

IngestLayer = Callable[[int, str], Awaitable[LayerInfo]]
"""Store the layer whose stream (a file or a pipe, compressed or not) an fd gives; the text is the
diff ID that it must turn out to have, or "". Runs in a worker, since the stream is hostile."""


class ImageSettings(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon's configuration decides for images.

    ``keep_blobs`` keeps the compressed layers as they came, so that push and save give the same
    digests again, at the price of their size on disk.
    """

    registries: RegistrySettings = RegistrySettings()
    keep_blobs: bool = True
    downloads: int = 3  # layers of one pull at a time
    uploads: int = 5  # layers of one push at a time
    unpackers: int = 2


def no_containers() -> Iterable[ContainerRecord]:
    """For an engine without containers."""
    return ()


async def nothing_mounted(sources: list[str]) -> None:
    """For an engine without a launcher."""


class KeyedLocks:
    """A lock per key, forgotten when nobody wants it."""

    def __init__(self) -> None:
        self._locks: dict[str, tuple[asyncio.Lock, int]] = {}

    @asynccontextmanager
    async def hold(self, key: str) -> AsyncIterator[None]:
        """Wait for the key and hold it until the block ends."""
        lock, users = self._locks.get(key, (asyncio.Lock(), 0))
        self._locks[key] = (lock, users + 1)
        try:
            async with lock:
                yield
        finally:
            lock, users = self._locks.pop(key)
            if users > 1:
                self._locks[key] = (lock, users - 1)


@dataclass(frozen=True, slots=True)
class ImageParts:
    """The rooms and registries that images are made of.

    ``containers`` gives every container's record; ``release`` makes the launcher let go of mounted
    layers (paths of their files) before they are removed; ``empty_trash`` blocks while it deletes.
    """

    settings: ImageSettings
    store: ImageStore
    content: ContentStore
    leases: Leases
    snapshots: Snapshotter
    ingest: IngestLayer
    events: Events
    containers: Callable[[], Iterable[ContainerRecord]] = no_containers
    release: Callable[[list[str]], Awaitable[None]] = nothing_mounted
    empty_trash: Callable[[], None] = lambda: None
    locks: KeyedLocks = field(default_factory=KeyedLocks)

    def publish(self, action: str, actor: str, name: str, **attributes: str) -> None:
        """Publish an event of an image; with its labels, where ``actor`` is an ID."""
        labels = self._labels(actor) if is_digest(actor) else {}
        self.events.publish("image", action, actor, {**labels, "name": name, **attributes})

    def _labels(self, image_id: str) -> dict[str, str]:
        try:
            return image_format.decode(self.content.read(image_id)).run.labels or {}
        except (KetchError, OSError):
            return {}  # damaged, gone with the image, or out of reach: what happened has happened


def ingest_in_worker(launcher: Launcher, data_root: str, snapshots: LayerStore) -> IngestLayer:
    """``IngestLayer`` by a worker of the launcher."""

    async def ingest(fd: int, diff_id: str) -> LayerInfo:
        scratch = secrets.token_hex(8)
        args = {
            "root": data_root,
            "snapshotter": snapshots.name,
            "diff_id": diff_id,
            "scratch": scratch,
            "limit": 0,
        }
        try:
            with storing(f"a layer in {data_root}"):
                result = await launcher.work("ketch.snapshots.tasks:ingest", args, [fd])
        except (asyncio.CancelledError, Unavailable):  # it was killed: nobody tidies up there
            asyncio.get_running_loop().run_in_executor(None, snapshots.abandon, scratch)
            raise
        return msgspec.convert(result, LayerInfo)

    return ingest
