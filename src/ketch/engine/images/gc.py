"""Collecting layers and blobs that nothing names.

What is named: by an image's record, by a container's (its layers), by whoever registered roots (the
build cache), by a running operation's lease. Removal is a rename into the trash; the trash is
emptied slowly, in a thread.
"""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Callable, Iterable
from contextlib import asynccontextmanager

from ketch.engine.images.parts import ImageParts
from ketch.errors import NotFound

Roots = Callable[[], Iterable[str]]
_BATCH = 20
_CALM = 1.0  # seconds from the removal of a container to the deletion of its files
_log = logging.getLogger(__name__)


class Collector:
    """See the module's docstring."""

    def __init__(self, parts: ImageParts) -> None:
        self._parts = parts
        self._roots: list[Roots] = [self._container_layers]
        self._running = asyncio.Lock()
        self._holders = 0
        self._wanted = False
        self._dirty = False
        self._emptying: asyncio.Task[None] | None = None
        self._timer: asyncio.TimerHandle | None = None

    def keep_layers(self, roots: Roots) -> None:
        """Register more diff IDs that stay."""
        self._roots.append(roots)

    @asynccontextmanager
    async def held(self) -> AsyncIterator[None]:
        """While the block lasts nothing is collected: for whoever stores what he can't name yet.

        A collection that was asked for meanwhile is made up for at the end.
        """
        self._holders += 1
        try:
            async with self._running:
                pass  # one that had begun is over now
            yield
        finally:
            self._holders -= 1
        if self._wanted and not self._holders:
            await self.collect()

    def _container_layers(self) -> Iterable[str]:
        for container in self._parts.containers():
            yield from container.layers
            for point in container.mount_points:
                yield from point.layers

    def _named_layers(self) -> set[str]:
        named = {layer for image in self._parts.store for layer in image.layers}
        named.update(*(index.layers for index in self._parts.store.indexes()))
        return named.union(*(roots() for roots in self._roots))

    def _named_blobs(self) -> set[str]:
        images = list(self._parts.store)
        named = {image.id for image in images} | {image.manifest for image in images}
        named.update(*(index.digests for index in self._parts.store.indexes()))
        return named.union(*(image.blobs for image in images))

    async def collect(self, keys: Iterable[str] | None = None) -> int:
        """Remove what is named by nothing, among ``keys`` or among all; the bytes of layers freed.

        ``keys`` are digests of blobs and diff IDs, as they come.
        """
        if self._holders:
            self._wanted = True
            return 0
        async with self._running:
            self._wanted = False
            layers, blobs = await asyncio.to_thread(self._stored, keys)
            freed = await self._collect_layers(layers)
            await self._each(blobs, self._named_blobs, self._parts.content.delete)
        self._empty_trash()
        return freed

    def empty_trash_soon(self) -> None:
        """Something was renamed away: delete it when things have calmed down."""
        if self._timer is None:
            self._timer = asyncio.get_running_loop().call_later(_CALM, self._empty_trash)

    def close(self) -> None:
        """Begin nothing more."""
        if self._timer is not None:
            self._timer.cancel()

    def _empty_trash(self) -> None:
        """Begin to delete what was renamed away; nobody waits for it."""
        self._timer = None
        self._dirty = True
        if self._emptying is None or self._emptying.done():
            self._emptying = asyncio.create_task(self._emptied())

    async def _emptied(self) -> None:
        while self._dirty:
            self._dirty = False
            try:
                await asyncio.to_thread(self._parts.empty_trash)
            except OSError as error:
                _log.warning("cannot empty the trash: %s", error)

    def _stored(self, keys: Iterable[str] | None) -> tuple[list[str], list[str]]:
        """Layers and blobs that are there."""
        parts = self._parts
        if keys is None:
            return list(parts.snapshots.layers()), [digest for digest, _ in parts.content.walk()]
        wanted = set(keys) - {""}
        layers = [key for key in wanted if key.startswith("sha256:")]
        return (
            [key for key in layers if parts.snapshots.has_layer(key)],
            [key for key in wanted if parts.content.has(key)],
        )

    async def _collect_layers(self, layers: list[str]) -> int:
        named = self._named_layers()
        sources = {key: self._source(key) for key in layers if key not in named}
        used = await asyncio.to_thread(self._snapshot_sources) if sources else set()
        doomed = [key for key, source in sources.items() if source not in used]
        sizes = {key: self._size(key) for key in doomed}
        if doomed:
            await self._parts.release([sources[key] for key in doomed])
        removed = await self._each(doomed, self._named_layers, self._parts.snapshots.remove_layer)
        return sum(sizes[key] for key in removed)

    async def _each(
        self, keys: list[str], named: Callable[[], set[str]], remove: Callable[[str], object]
    ) -> list[str]:
        """Remove keys, letting others run now and then; names are looked up anew each time."""
        removed = []
        for start in range(0, len(keys), _BATCH):
            names = named()
            removed += [
                key
                for key in keys[start : start + _BATCH]
                if not self._holders and self._parts.leases.collect(key, names.__contains__, remove)
            ]
            await asyncio.sleep(0)
        return removed

    def _source(self, diff_id: str) -> str:
        return self._parts.snapshots.view([diff_id]).lowers[0].source

    def _snapshot_sources(self) -> set[str]:
        """Layers under a snapshot that may not have a record yet: of a container being created."""
        snapshots, used = self._parts.snapshots, set()
        for key in snapshots.snapshots():
            try:
                used |= {lower.source for lower in snapshots.rootfs(key).lowers}
            except NotFound:
                continue  # removed meanwhile
        return used

    def _size(self, diff_id: str) -> int:
        try:
            return self._parts.snapshots.layer(diff_id).size
        except NotFound:
            return 0
