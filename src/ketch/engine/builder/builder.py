"""The builder: from a build context and options to an image.

What is asked of the Dockerfile's language and the order of steps is ``ketch.build``'s; the modules
beside this one execute the steps on the engine's rooms. A build lives in one directory at one of
the snapshotter's places, which goes with it; after a crash ``start`` removes what is left.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Iterator
from contextlib import AsyncExitStack, asynccontextmanager, suppress
from itertools import chain
from typing import TYPE_CHECKING

from ketch.build.contexts.wanted import wanted
from ketch.build.failures import StepFailed
from ketch.build.progress.classic import ClassicText
from ketch.build.request.offers import Given, Offers
from ketch.build.request.options import BuildOptions, BuildOutput
from ketch.build.request.refusals import check_grants
from ketch.engine.builder.cache.importing import CacheSources
from ketch.engine.builder.cache.mount_transfer import MountTransfer
from ketch.engine.builder.cache.mounts import CacheMounts
from ketch.engine.builder.cache.prune import Pruner
from ketch.engine.builder.cache.records import BuildCache
from ketch.engine.builder.channel import Channel
from ketch.engine.builder.contexts.downloads import KeptDownloads
from ketch.engine.builder.contexts.earlier import KeptContexts
from ketch.engine.builder.contexts.git import Cloner
from ketch.engine.builder.contexts.offers import OfferDesk
from ketch.engine.builder.contexts.seen import SeenContexts
from ketch.engine.builder.contexts.source import Source
from ketch.engine.builder.definition import definition, loaded
from ketch.engine.builder.graph.build import GraphBuild
from ketch.engine.builder.graph.solver import GraphSolver
from ketch.engine.builder.history.records import BuildHistory, Recording
from ketch.engine.builder.options import check, each_platform, platform_arguments
from ketch.engine.builder.questions import Questions
from ketch.engine.builder.room import PREFIX, BuildRoom
from ketch.engine.builder.running import RunningBuild
from ketch.engine.builder.spare import SpareWorker
from ketch.engine.builder.steps import floor as builder_floor
from ketch.engine.builder.steps import leftover
from ketch.engine.builder.steps.container import Containers
from ketch.engine.builder.steps.executor import BuildExecutor
from ketch.engine.builder.steps.files import StepFiles
from ketch.engine.builder.steps.mounts import SECRETS
from ketch.engine.builder.steps.run import StepRunner
from ketch.engine.builder.workers import BuildWorkers
from ketch.engine.spec.validate import Facts
from ketch.engine.storing import storing
from ketch.engine.tasks import Background
from ketch.errors import KetchError
from ketch.layers.remove import remove
from ketch.linux.capabilities import NAMES

if TYPE_CHECKING:
    from ketch.build.lint.answers import Answer
    from ketch.build.progress.events import Sink
    from ketch.engine.builder.graph.sources import GraphFiles
    from ketch.engine.containers.parts import Parts
    from ketch.state.database import Database

_BATCH, _PAUSE = 200, 0.01  # inodes, seconds
_FAREWELL = 5.0  # seconds


class Builder:
    """See the module's docstring."""

    def __init__(self, parts: Parts, database: Database) -> None:
        self._parts = parts
        self._facts = Facts(cpus=os.cpu_count() or 1, capabilities=frozenset(NAMES))
        self._cache = BuildCache(database)
        self._caches = CacheMounts(database, parts.config.data_root)
        self.history = BuildHistory(database)
        self.offers = OfferDesk()
        self._slots = asyncio.Semaphore(max(2, 2 * (os.cpu_count() or 1)))
        self._background = Background()
        self._spare = SpareWorker(parts.launcher, self._background)
        self._open: dict[int, BuildRoom] = {}
        self._all_closed = asyncio.Event()
        self._running: set[RunningBuild] = set()
        self._sums: dict[tuple[object, ...], str] = {}
        self._seen = SeenContexts()
        self.contexts = KeptContexts(database, parts.config.data_root)
        self._downloads = KeptDownloads(database, parts.config.data_root)
        kept = (self.contexts, self._downloads)
        self.cache = Pruner(parts, self._cache, self._caches, kept, self._sums.clear)
        parts.images.keep_layers(self._kept)

    async def build(
        self,
        source: Source,
        options: BuildOptions,
        offers: Offers | None = None,
    ) -> AsyncIterator[BuildOutput]:
        """Build from a client's files.

        ``offers`` are the client's secrets and agents, by default those of ``options``.

        An async generator. What is wrong before the first step is raised by its first
        ``__anext__`` (``InvalidParameter`` for the Dockerfile, ``Unsupported`` for an option that
        ketch does not honour); what fails later is its last output, with ``error`` set. Closing it
        (``aclose``) or cancelling its task kills the running step and leaves nothing half-made.
        """
        async with self.running(source, options, offers) as build:
            async for output in _classic(build, quiet=options.quiet):
                yield output

    @asynccontextmanager
    async def running(
        self,
        source: Source,
        options: BuildOptions,
        offers: Offers | None = None,
        gate: Awaitable[bool] | None = None,
        ref: str | None = "",
        channel: Channel | None = None,
    ) -> AsyncIterator[RunningBuild]:
        """A build whose steps run while the block does; leaving it kills what still runs.

        Nothing is stored before ``gate``, if there is one, answers True. ``ref`` is what the client
        calls the build, None if the history is not to have it. A ``channel`` of the caller's has
        the events from the start on, before the block begins too; the caller closes it when no
        block did.

        Raises what is wrong before the first step, as ``build`` does.
        """
        check(options)
        check_grants(options.allow, self._parts.config.entitlements)
        channel = channel or Channel()
        with self.history.recording(options, ref) as recording:
            given = offers or Given(options.secrets, options.credentials)
            sink = recording.tee(channel.put)
            room = await self._make_room(source, options, given, channel, sink)
            try:
                async with self._begun(room, recording, gate) as build:
                    yield build
            finally:
                await asyncio.shield(self._close_room(room))

    @asynccontextmanager
    async def _begun(
        self, room: BuildRoom, recording: Recording, gate: Awaitable[bool] | None
    ) -> AsyncIterator[RunningBuild]:
        files = StepFiles(room, self._sums)
        sources = CacheSources(room)
        transfer = MountTransfer(room, sources)
        runner = StepRunner(room, files, transfer, self._facts)
        runner.check()
        plans = await definition(room)
        room.wanted = wanted(plans)
        executor = BuildExecutor(room, self._cache, runner, files, sources, transfer)
        containers = Containers(room, files, transfer, self._facts)
        build = RunningBuild(room, plans, executor, recording, containers, gate)
        self._running.add(build)
        try:
            yield build
        finally:
            self._running.discard(build)
            try:
                await build.cancel()
            finally:
                await sources.close()

    async def ask(
        self,
        request: str,
        source: Source,
        options: BuildOptions,
        offers: Offers | None = None,
        channel: Channel | None = None,
    ) -> Answer:
        """Answer one of BuildKit's subrequests about a Dockerfile (``builder.questions``);
        ``offers`` and ``channel`` as for ``running``. Of several platforms it is about the first.

        Nothing is built and nothing kept. Raises as ``running`` does.
        """
        check(options)
        options = each_platform(options)[0]
        given = offers or Given(credentials=options.credentials)
        channel = channel or Channel()
        room = await self._make_room(source, options, given, channel, channel.put)
        try:
            data = await loaded(room)
            ignore = await source.ignore(room.workers, options.dockerfile)
            arguments = platform_arguments(options)
            return await Questions(room).answer(request, data, ignore, options, arguments)
        finally:
            await asyncio.shield(self._close_room(room))

    @asynccontextmanager
    async def graphs(
        self,
        source: GraphFiles,
        options: BuildOptions,
        offers: Offers,
        channel: Channel,
        ref: str | None = None,
    ) -> AsyncIterator[GraphBuild]:
        """A place for the graphs of one client, which goes with the block, and what runs in it.
        ``ref`` is as for ``running``.

        Raises as ``running`` does.
        """
        check(options)
        check_grants(options.allow, self._parts.config.entitlements)
        async with AsyncExitStack() as stack:
            recording = stack.enter_context(self.history.recording(options, ref))
            sink = recording.tee(channel.put)
            room = await self._make_room(source, options, offers, channel, sink)
            stack.push_async_callback(self._closed, room)
            sources = CacheSources(room)
            stack.push_async_callback(sources.close)
            files = StepFiles(room, self._sums)
            transfer = MountTransfer(room, sources)
            runner = StepRunner(room, files, transfer, self._facts)
            runner.check()
            executor = BuildExecutor(room, self._cache, runner, files, sources, transfer)
            solver = GraphSolver(room, executor, runner, source)
            stack.push_async_callback(solver.close)
            containers = Containers(room, files, transfer, self._facts)
            yield GraphBuild(room, executor, solver, containers, recording)

    async def _closed(self, room: BuildRoom) -> None:
        await asyncio.shield(self._close_room(room))

    async def _make_room(
        self, source: Source, options: BuildOptions, offers: Offers, channel: Channel, sink: Sink
    ) -> BuildRoom:
        # before there is a directory
        floor = await builder_floor.ensure(self._parts, step=True)
        empty = await builder_floor.ensure_empty(self._parts)
        directory = self._parts.snapshots.place(f"{PREFIX}{secrets.token_hex(8)}")
        with storing("the build context"):
            os.mkdir(directory, mode=0o700)
        room = BuildRoom(
            self._parts,
            source,
            options,
            channel,
            sink,
            directory,
            floor,
            empty,
            BuildWorkers(
                self._spare,
                directory,
                self._cloner(offers, directory),
                self._parts.snapshots.abandon,
                self._seen,
            ),
            self._caches,
            offers,
            self._slots,
            self._downloads,
        )
        self._open[id(room)] = room
        return room

    def _cloner(self, offers: Offers, directory: str) -> Cloner:
        sockets = f"{self._parts.config.exec_root}/{SECRETS}"
        return Cloner(self._parts.launcher, offers, directory, sockets)

    async def _close_room(self, room: BuildRoom) -> None:
        self._background.spawn(self.cache.collect_in_time())
        try:
            trash = await room.close()
            self._background.spawn(asyncio.to_thread(_delete, trash))
            self._parts.images.empty_trash_soon()
            self._spare.prepare()
        finally:
            self._open.pop(id(room), None)
            if not self._open:
                self._all_closed.set()

    async def leave(self) -> None:
        """Before the engine stops: end the builds under way, whose clients are told."""
        await asyncio.gather(*[build.stop() for build in self._running], return_exceptions=True)

    async def close(self) -> None:
        """Wait until builds are taken back whose clients were sent away, and end the worker that
        waits for the next one."""
        with suppress(TimeoutError):  # the next daemon does what is left
            async with asyncio.timeout(_FAREWELL):
                while self._open:
                    self._all_closed.clear()
                    await self._all_closed.wait()
        await self._spare.close()

    def gateway(self) -> str:
        """The address of the host on the network of steps; "" without one."""
        return self._parts.networks.host_gateway()

    def _kept(self) -> Iterator[str]:
        """Layers that are kept: of the cache, of running builds, the floors, the empty one."""
        held = chain.from_iterable(tuple(room.held) for room in tuple(self._open.values()))
        return chain(self._cache.layers(), held, builder_floor.own_layers())

    async def leave_layout(self, token: str, store: str, pieces: AsyncIterator[bytes]) -> None:
        """Keep a tar archive of an OCI layout for the build of these offers; raises ``NotFound``
        and ``Conflict``."""
        offers = self.offers.find(token)
        path = f"{self._parts.config.data_root}/tmp/{PREFIX}{secrets.token_hex(8)}.layout"
        with storing("the directory of a build's client"):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    async for piece in pieces:
                        await asyncio.to_thread(file.write, piece)
            except BaseException:
                os.unlink(path)
                raise
        offers.leave_layout(store, path)

    async def start(self) -> None:
        """Before any build: throw away what builds of a daemon before left."""
        root = self._parts.config.data_root
        self._caches.start()
        self.contexts.start()
        self._downloads.start()
        self.history.start()
        secret = f"{self._parts.config.exec_root}/{SECRETS}"
        await asyncio.to_thread(shutil.rmtree, secret, ignore_errors=True)
        for path in self._parts.snapshots.unfinished(PREFIX):
            trash = f"{root}/trash/{os.path.basename(path)}"
            await asyncio.to_thread(leftover.end_steps, path)
            os.rename(path, trash)
            self._background.spawn(asyncio.to_thread(_delete, trash))


async def _classic(build: RunningBuild, *, quiet: bool) -> AsyncIterator[BuildOutput]:
    """What the classic builder says; the last message says why it ended, if not well."""
    text = ClassicText(quiet=quiet)
    async for event in build.events():
        for output in text.feed(event):
            yield output
    for output in text.rest():
        yield output
    try:
        built = await build.built()
    except StepFailed as error:
        yield BuildOutput(error=str(error), code=error.code)
    except KetchError as error:
        yield BuildOutput(error=str(error))
    else:
        for output in text.closing(built.image, built.tags):
            yield output


def _delete(path: str) -> None:
    """Slowly, since a file system that deletes much makes files slowly for a while."""
    folder, name = os.path.split(path)
    deleted = 0

    def count() -> None:
        nonlocal deleted
        deleted += 1
        if deleted % _BATCH == 0:
            time.sleep(_PAUSE)

    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        remove(fd, os.fsencode(name), count)
    except FileNotFoundError:
        pass  # whoever empties the trash was quicker
    finally:
        os.close(fd)
