"""What one build works with: the engine's parts, its own directory, what it holds."""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import Coroutine, Iterable
from contextlib import suppress
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

from ketch.build.contexts.wanted import EVERYTHING, Paths, cleaned, covers
from ketch.build.progress.events import Report, Sink, Vertex, vertex_digest
from ketch.build.request.epoch import epoch_of
from ketch.build.request.options import BuildOptions
from ketch.engine.builder.channel import Channel
from ketch.engine.builder.workers import BuildWorkers, directory_of
from ketch.engine.images.values import Credentials
from ketch.engine.storing import storing
from ketch.errors import Unavailable
from ketch.mounts import Mount, Rootfs

if TYPE_CHECKING:
    from ketch.build.executor import Tree
    from ketch.build.request.offers import Offers
    from ketch.engine.builder.cache.mounts import CacheMounts
    from ketch.engine.builder.contexts.downloads import KeptDownloads
    from ketch.engine.builder.contexts.source import Source
    from ketch.engine.containers.parts import Parts
    from ketch.oci.reference import Reference

_log = logging.getLogger("ketch.engine.builder")
PREFIX = "build-"


class ContextLoad(NamedTuple):
    """A context, or some paths of it, on the way or there."""

    name: str
    paths: Paths
    task: asyncio.Task[None]


@dataclass(slots=True)
class BuildRoom:
    """One build. ``directory`` goes with the build.

    Events go to
    the ``sink``, from which those for the client come out of the ``channel``. ``held`` are layers
    that nothing else may name yet; ``kept`` are snapshots of failed steps; ``floor`` is the layer
    that lies under every step, ``empty`` stands for no layers (see ``steps.floor``). ``wanted`` is
    what the plans name of each context.
    """

    parts: Parts
    source: Source
    options: BuildOptions
    channel: Channel
    sink: Sink
    directory: str
    floor: str
    empty: str
    workers: BuildWorkers
    caches: CacheMounts
    offers: Offers
    slots: asyncio.Semaphore  # RUN steps at once, of all builds
    downloads: KeptDownloads
    held: set[str] = field(default_factory=set)
    kept: dict[str, dict[str, Any]] = field(default_factory=dict)  # and their stubs
    tasks: set[asyncio.Task[None]] = field(default_factory=set)
    loads: list[ContextLoad] = field(default_factory=list)
    unpacks: dict[str, asyncio.Task[None]] = field(default_factory=dict)
    wanted: dict[str, Paths] = field(default_factory=dict)
    fetched: int = 0
    renewed: set[str] = field(default_factory=set)  # cache mounts that --no-cache began anew

    def reporting(self, title: str) -> Report:
        """A vertex of the build's own."""
        digest = vertex_digest(self.directory, title)
        return Report(self.sink, Vertex(digest=digest, name=title))

    async def load(self, name: str, sources: Iterable[str] = EVERYTHING) -> ContextLoad:
        """A context is brought when it is first wanted: what the plans name of it, or all of it if
        that turns out to be too little."""
        sources = frozenset(sources)
        load = next((one for one in reversed(self.loads) if one.name == name), None)
        if load is None or not covers(load.paths, sources):
            load = self._begin(name, load, sources)
        await asyncio.shield(load.task)
        return load

    def load_ahead(self) -> None:
        """Ask for what the plans name of the client's directories, while the first steps run."""
        for name in self.wanted:
            if self.source.picks(name):
                self._begin(name, None, frozenset())

    def _begin(self, name: str, before: ContextLoad | None, sources: Paths) -> ContextLoad:
        paths = EVERYTHING
        if before is None and self.source.picks(name):
            paths = self.wanted.get(name, EVERYTHING) | {cleaned(source) for source in sources}
        title = f"[context {name}] load from client" if name else "[internal] load build context"
        title = f"{title}, all of it" if before else title
        load = ContextLoad(name, paths, asyncio.create_task(self._load(name, title, paths)))
        self.loads.append(load)
        return load

    async def view(self, tree: Tree, sources: Iterable[str] = EVERYTHING) -> Rootfs:
        """A tree as a read-only mount; at least what is said of it."""
        if tree.kind == "layers":
            return self.parts.snapshots.view(tree.layers or (self.empty,))
        if await self._is_image(tree, sources) and self.parts.snapshots.name == "erofs":
            await self.workers.arrive(tree.name)
            image = self.workers.path(self.workers.received[tree.name]["image"])
            return Rootfs((Mount("erofs", image, options=("ro",)),))
        return Rootfs((Mount("bind", await self._unpacked(tree, sources)),))

    async def place(self, tree: Tree, sources: Iterable[str] = EVERYTHING) -> dict[str, Any]:
        """Where a tree that is not of layers is, for ``ketch.build.tasks.trees``."""
        if not await self._is_image(tree, sources):
            return {"tree": os.path.basename(await self._unpacked(tree, sources))}
        await self.workers.arrive(tree.name)
        received = self.workers.received[tree.name]
        return {"image": received["image"], "partial": received.get("partial", False)}

    async def identity(self, tree: Tree, sources: Iterable[str] = EVERYTHING) -> object:
        """What the same files have in common, of whatever build; None where nothing is known."""
        if tree.kind == "layers":
            return tree.layers
        if await self._is_image(tree, sources):
            return self.workers.received[tree.name]["digest"]
        return None

    async def _is_image(self, tree: Tree, sources: Iterable[str]) -> bool:
        """Whether it is a context of the client's and not one that the engine fetched."""
        if tree.kind != "context":
            return False
        await self.load(tree.name, sources)
        return tree.name in self.workers.received

    async def _unpacked(self, tree: Tree, sources: Iterable[str]) -> str:
        """The directory of a tree that is not of layers."""
        if tree.kind != "context":
            return f"{self.directory}/{tree.handle}"
        if not await self._is_image(tree, sources):
            return f"{self.directory}/{directory_of(tree.name)}"
        name = self.workers.received[tree.name]["image"].removesuffix(".erofs")
        if name not in self.unpacks:
            self.unpacks[name] = asyncio.create_task(self.workers.unpack(tree.name, name))
        await asyncio.shield(self.unpacks[name])
        return f"{self.directory}/{name}"

    async def _load(self, name: str, title: str, paths: Paths) -> None:
        report = self.reporting(title)
        try:
            await self.source.files(self.workers, name, report, paths)
        except BaseException as error:
            report.end(error=str(error) or "canceled")
            raise
        report.end()

    async def account(self, name: Reference) -> Credentials:
        """The client's account for a registry."""
        found = await self.offers.credentials(name.domain)
        if found is None:
            return Credentials()
        user, password = found
        if not user:
            return Credentials(identity_token=password)
        return Credentials(username=user, password=password)

    def make_directory(self, name: str) -> str:
        """A new directory of the build's own."""
        path = f"{self.directory}/{name}"
        with storing("the build"):
            os.mkdir(path, 0o700)
        return path

    def hold(self, layers: Iterable[str]) -> None:
        """Keep layers from being collected while the build runs."""
        self.held.update(layers)

    @property
    def newest(self) -> int | None:
        """The latest time (ns since the epoch) that files of layers may have, if any."""
        epoch = epoch_of(self.options.build_args)
        return None if epoch is None else epoch * 1_000_000_000

    async def ingest(self, key: str, stubs: dict[str, Any] | None = None) -> str:
        """What a snapshot changed as a layer; "" when it changed nothing.

        ``stubs`` are mount points that are no change (``ketch.build.tasks.stubs``).
        """
        parts = self.parts
        args: dict[str, Any] = {
            "root": parts.config.data_root,
            "snapshotter": parts.snapshots.name,
            "key": key,
            "newest": self.newest,
        }
        if stubs:
            args |= {"stubs": stubs, "upper": parts.snapshots.upper(key)}
        async with parts.images.hold():  # the layer has no name until this build holds it
            with storing(f"a layer in {parts.config.data_root}"):
                info = await self.workers.store("ingest", **args)
            if not info["entries"]:
                return ""
            layer = str(info["diff_id"])
            self.hold([layer])
        return layer

    def later(self, work: Coroutine[Any, Any, None]) -> None:
        """Tidy up while the next step runs; ``close`` waits for it."""
        task = asyncio.get_running_loop().create_task(work)
        self.tasks.add(task)
        task.add_done_callback(self._tidied)

    def _tidied(self, task: asyncio.Task[None]) -> None:
        self.tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.error("a build step left something behind: %s", error, exc_info=error)

    async def close(self) -> str:
        """Wait for the tidying, then move the directory to the trash; its path there."""
        bringing = [*(load.task for load in self.loads), *self.unpacks.values()]
        for task in bringing:
            task.cancel()
        await asyncio.gather(*bringing, return_exceptions=True)
        await self.workers.close()
        while self.tasks:
            await asyncio.gather(*tuple(self.tasks), return_exceptions=True)
        for key in self.kept:
            await asyncio.to_thread(self.parts.snapshots.remove, key)
        images = [self.workers.path(image) for image in self.workers.present()]
        if images:
            with suppress(Unavailable):  # with the launcher its mounts are gone
                await self.parts.launcher.release_layers(images)
        trash = f"{self.parts.config.data_root}/trash/{os.path.basename(self.directory)}"
        os.rename(self.directory, trash)
        self.held.clear()
        return trash
