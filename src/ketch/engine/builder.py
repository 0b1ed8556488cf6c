"""The builder: from a build context and options to an image.

What is asked of the Dockerfile's language and the order of steps is ``ketch.build``'s; the modules
``builder_…`` execute the steps on the engine's rooms. A build lives in one directory below the data
root's ``tmp``, which goes with it; after a crash ``start`` removes what is left.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Iterator, Sequence
from contextlib import asynccontextmanager
from itertools import chain
from typing import TYPE_CHECKING

import msgspec

from ketch.build.classic import ClassicText
from ketch.build.epoch import epoch_of
from ketch.build.failures import StepFailed
from ketch.build.offers import Given, Offers
from ketch.build.options import BuildOptions, BuildOutput
from ketch.build.prepared import prepare
from ketch.build.refusals import check_options
from ketch.engine import builder_floor
from ketch.engine.builder_cache import BuildCache, CacheUsage
from ketch.engine.builder_cachemounts import CacheMounts
from ketch.engine.builder_channel import Channel
from ketch.engine.builder_executor import BuildExecutor
from ketch.engine.builder_files import StepFiles
from ketch.engine.builder_gc import KEYS, OLD, Amounts, chosen, matching, usual
from ketch.engine.builder_git import Cloner
from ketch.engine.builder_history import BuildHistory
from ketch.engine.builder_mounts import SECRETS
from ketch.engine.builder_offers import OfferDesk
from ketch.engine.builder_questions import Questions
from ketch.engine.builder_room import PREFIX, BuildRoom
from ketch.engine.builder_run import StepRunner
from ketch.engine.builder_running import RunningBuild
from ketch.engine.builder_source import Source
from ketch.engine.builder_spare import SpareWorker
from ketch.engine.builder_workers import BuildWorkers
from ketch.engine.filters import Filters
from ketch.engine.prune_report import PruneReport
from ketch.engine.spec_validate import Facts
from ketch.engine.storing import storing
from ketch.engine.tasks import Background
from ketch.errors import InvalidParameter, KetchError, Unsupported
from ketch.layers.remove import remove
from ketch.linux.capabilities import NAMES
from ketch.oci import platform as platforms
from ketch.oci import reference as references

if TYPE_CHECKING:
    from ketch.build.lint.answers import Answer
    from ketch.engine.container_parts import Parts
    from ketch.state.database import Database

_COLLECTION_EVERY = 600.0  # seconds
_BATCH, _PAUSE = 200, 0.01  # inodes, seconds


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
        self._next_collection = time.monotonic() + _COLLECTION_EVERY
        self._spare = SpareWorker(parts.launcher, self._background)
        self._open: dict[int, BuildRoom] = {}
        self._sums: dict[tuple[object, ...], str] = {}
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
        ref: str = "",
    ) -> AsyncIterator[RunningBuild]:
        """A build whose steps run while the block does; leaving it kills what still runs.

        Nothing is stored before ``gate``, if there is one, answers True. ``ref`` is what the client
        calls the build.

        Raises what is wrong before the first step, as ``build`` does.
        """
        _check(options)
        room = await self._make_room(
            source, options, offers or Given(options.secrets, options.credentials)
        )
        files = StepFiles(room, self._sums)
        runner = StepRunner(room, files, self._facts)
        try:
            runner.check()
            text = await source.dockerfile(room.workers, options.dockerfile)
            plans = [prepare(text, one, _platform(one)) for one in _each_platform(options)]
            executor = BuildExecutor(room, self._cache, runner, files)
            recording = self.history.begin(options, ref)
            build = RunningBuild(room, plans, executor, recording, gate)
            try:
                yield build
            finally:
                try:
                    await build.cancel()
                finally:
                    await executor.sources.close()
        finally:
            await asyncio.shield(self._close_room(room))

    async def ask(self, request: str, source: Source, options: BuildOptions) -> Answer:
        """Answer one of BuildKit's subrequests about a Dockerfile (``builder_questions``).

        Nothing is built and nothing kept. Raises as ``running`` does.
        """
        _check(options)
        room = await self._make_room(source, options, Given())
        try:
            data = await source.dockerfile(room.workers, options.dockerfile)
            ignore = await source.ignore(room.workers, options.dockerfile)
            questions = Questions(self._parts.images)
            return questions.answer(request, data, ignore, options, _platform(options))
        finally:
            await asyncio.shield(self._close_room(room))

    async def _make_room(self, source: Source, options: BuildOptions, offers: Offers) -> BuildRoom:
        floor = await builder_floor.ensure(self._parts)  # before there is anything to take back
        directory = f"{self._parts.config.data_root}/tmp/{PREFIX}{secrets.token_hex(8)}"
        with storing("the build context"):
            os.mkdir(directory, mode=0o700)
        room = BuildRoom(
            self._parts,
            source,
            options,
            Channel(),
            directory,
            floor,
            BuildWorkers(self._spare, directory, self._cloner(offers, directory)),
            self._caches,
            offers,
            self._slots,
        )
        self._open[id(room)] = room
        return room

    def _cloner(self, offers: Offers, directory: str) -> Cloner:
        sockets = f"{self._parts.config.exec_root}/{SECRETS}"
        return Cloner(self._parts.launcher, offers, directory, sockets)

    async def _close_room(self, room: BuildRoom) -> None:
        self._background.spawn(self._collect_in_time())
        try:
            trash = await room.close()
            self._background.spawn(asyncio.to_thread(_delete, trash))
            self._parts.images.empty_trash_soon()
            self._spare.prepare()
        finally:
            self._open.pop(id(room), None)

    async def close(self) -> None:
        """End the worker that waits for the next build."""
        await self._spare.close()

    def _kept(self) -> Iterator[str]:
        """Layers that must not be collected: of the cache, of running builds, the floor."""
        held = chain.from_iterable(tuple(room.held) for room in tuple(self._open.values()))
        return chain(self._cache.layers(), held, [builder_floor.archive()[0]])

    async def leave_folder(self, token: str, number: int, pieces: AsyncIterator[bytes]) -> None:
        """Keep a tar archive for the build of these offers; raises ``NotFound``."""
        offers = self.offers.find(token)
        path = f"{self._parts.config.data_root}/tmp/{PREFIX}{secrets.token_hex(8)}.cache"
        with storing("the directory of a cache"):
            fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
            try:
                with os.fdopen(fd, "wb") as file:
                    async for piece in pieces:
                        await asyncio.to_thread(file.write, piece)
            except BaseException:
                os.unlink(path)
                raise
        offers.leave_folder(number, path)

    async def prune(
        self,
        filters: Filters,
        amounts: Amounts = Amounts(),  # noqa: B008
        *,
        expressions: Sequence[str] = (),
        all: bool = False,
    ) -> PruneReport:
        """Forget build cache records; layers that no image holds go with them.

        ``filters``, ``expressions`` and ``amounts`` as in ``builder_gc``. Records have no labels:
        ``label`` finds none (``system prune`` sends it here too), ``label!`` all. Every record is
        one that nothing else needs, so ``all`` makes no difference.
        """
        known = {key: values for key, values in filters.items() if key != "label!"}
        unknown = sorted(set(known) - {"label", *KEYS})
        if unknown:
            raise InvalidParameter(f"the build cache can't be filtered by {unknown[0]!r}")
        if known.pop("label", ()):
            return PruneReport()
        records = await self.usage()
        free = await asyncio.to_thread(_free, self._parts.config.data_root)
        amounts = msgspec.structs.replace(amounts, free=free)
        doomed = chosen(records, matching(records, known, expressions), amounts)
        steps = [record.key for record in doomed if not record.is_mount]
        self._cache.forget(steps)
        self._sums.clear()
        mounts = self._caches.drop([record.key for record in doomed if record.is_mount])
        sizes = {record.key: record.size for record in doomed}
        reclaimed = await self._parts.images.collect_garbage() + sum(sizes[n] for n in mounts)
        return PruneReport(deleted=(*steps, *mounts), reclaimed=reclaimed)

    async def _collect_in_time(self) -> None:
        """Keep the cache in its bounds: after builds, but not after each."""
        now = time.monotonic()
        if now < self._next_collection:
            return
        self._next_collection = now + _COLLECTION_EVERY
        found = os.statvfs(self._parts.config.data_root)
        old = str(time.time_ns() - OLD)
        await self.prune({"until": (old,)})
        await self.prune({}, usual(found.f_blocks * found.f_frsize))

    async def usage(self) -> list[CacheUsage]:
        """What the cache holds, for ``system df``: steps and the directories of cache mounts."""
        images = self._parts.images
        held = frozenset(layer for image in images.records() for layer in image.layers)
        steps = await asyncio.to_thread(self._cache.usage, images.layer_size, held)
        return [*steps, *await asyncio.to_thread(self._caches.usage)]

    async def start(self) -> None:
        """Before any build: throw away what builds of a daemon before left."""
        root = self._parts.config.data_root
        self._caches.start()
        self.history.start()
        leftover = f"{self._parts.config.exec_root}/{SECRETS}"
        await asyncio.to_thread(shutil.rmtree, leftover, ignore_errors=True)
        for name in os.listdir(f"{root}/tmp"):
            if name.startswith(PREFIX):
                os.rename(f"{root}/tmp/{name}", f"{root}/trash/{name}")
                self._background.spawn(asyncio.to_thread(_delete, f"{root}/trash/{name}"))


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


def _check(options: BuildOptions) -> None:
    """All that can be refused before the context is read."""
    check_options(options)
    for tag in options.tags:
        if references.parse(tag).digest:
            raise InvalidParameter(f"invalid tag {tag!r}: a digest can't be given to an image")
    epoch = epoch_of(options.build_args)
    if options.verify and epoch is None:
        raise InvalidParameter(
            "verify needs the build argument SOURCE_DATE_EPOCH: without it every build has a time"
            " of its own (for example the time of the last commit: git log -1 --format=%ct)"
        )
    _each_platform(options)
    if options.network_mode.startswith("container:"):
        raise Unsupported(f"networkmode={options.network_mode!r} is not supported for builds")


def _each_platform(options: BuildOptions) -> list[BuildOptions]:
    """The options for each of several platforms; raises ``InvalidParameter``."""
    if options.verify:
        options = msgspec.structs.replace(options, no_cache=True)
    texts = [word.strip() for word in options.platform.split(",") if word.strip()]
    if len(texts) < 2:
        if texts:
            platforms.parse(texts[0])
        return [options]
    names = list(dict.fromkeys(str(platforms.parse(text)) for text in texts))
    return [msgspec.structs.replace(options, platform=name) for name in names]


def _platform(options: BuildOptions) -> dict[str, str]:
    """The arguments that every Dockerfile may declare."""
    build = platforms.host()
    target = platforms.parse(options.platform) if options.platform else build
    return {
        f"{kind}{part}": value
        for kind, one in (("BUILD", build), ("TARGET", target))
        for part, value in (
            ("PLATFORM", str(one)),
            ("OS", one.os),
            ("ARCH", one.architecture),
            ("VARIANT", one.variant),
        )
    }


def _free(path: str) -> int:
    """Bytes that the file system has for more."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
