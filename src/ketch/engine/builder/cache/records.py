"""What the builder remembers of steps, across builds and daemons.

Losing entries only costs time, so they are written without waiting for the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from contextlib import suppress
from typing import NamedTuple

import msgspec

from ketch.build.executor import CacheEntry, MakeEntry
from ketch.build.failures import StepFailed
from ketch.build.progress.events import Hear, Report
from ketch.state.database import Database, Table

STEP, MOUNT = "regular", "exec.cachemount"
CONTEXT = "source.local"
DOWNLOAD = "source.http"
_MOST = 20_000
_LONGEST_NAME = 200  # characters
_ID_LENGTH = 25  # characters, as BuildKit's; 100 bits are enough to tell steps apart
_MINUTE = 60_000_000_000  # ns


class CachedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step's outcome; times in ns since the epoch. ``used_at`` is exact to a minute, as is
    ``uses`` after the daemon has left. ``about`` is the step as its first build showed it,
    ``below`` the layer that it stood on."""

    layer: str
    created: str
    used_at: int
    made_at: int = 0
    uses: int = 1
    about: str = ""
    below: str = ""


class CacheUsage(NamedTuple):
    """A record of the cache for ``system df``: bytes; ns since the epoch.

    ``shared``: an image holds the layer too, so forgetting the record frees nothing. ``type`` is
    BuildKit's: ``regular`` for a step, ``exec.cachemount`` for the directory of a cache mount,
    ``source.local`` for a context that is kept; a file from a URL is ``source.http``. ``parent`` is
    the ID of the step below, if that is here.
    """

    key: str
    layer: str
    size: int
    shared: bool
    used_at: int
    made_at: int = 0
    uses: int = 1
    type: str = STEP
    description: str = ""
    in_use: bool = False
    parent: str = ""

    @property
    def id(self) -> str:
        """What clients call it: short enough for their tables."""
        return self.key if self.type != STEP else _short(self.key)

    @property
    def is_mount(self) -> bool:
        """Whether it is a directory that steps write to."""
        return self.type == MOUNT


def _short(key: str) -> str:
    return key.removeprefix("sha256:")[:_ID_LENGTH]


class _Making:
    """A step under way, and the other builds that want it too."""

    def __init__(self, report: Report) -> None:
        self._report = report
        self.done = asyncio.Event()
        self.unwanted = asyncio.Event()
        self.failure: StepFailed | None = None
        self._waiting = 0

    @property
    def is_wanted(self) -> bool:
        """Whether another build waits for it."""
        return self._waiting > 0

    async def over(self, hear: Hear) -> None:
        """Wait for its end, and hear what it writes."""
        self._waiting += 1
        self.unwanted.clear()
        try:
            with self._report.heard(hear):
                await self.done.wait()
        finally:
            self._waiting -= 1
            if not self._waiting:
                self.unwanted.set()

    async def carry_on(self, task: asyncio.Task[CacheEntry]) -> None:
        """Let it go on for the others, however often it is cancelled, as long as there are any."""
        while self.is_wanted and not task.done():
            unwanted = asyncio.ensure_future(self.unwanted.wait())
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task, unwanted}, return_when=asyncio.FIRST_COMPLETED)
            unwanted.cancel()


class BuildCache:
    """Key → outcome, in memory for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = Table(database, "build_cache", CachedStep)
        self._steps = self._table.all()
        self._making: dict[str, _Making] = {}

    async def outcome(
        self,
        key: str,
        make: MakeEntry,
        stored: Callable[[CacheEntry], bool],
        *,
        reuse: bool,
        report: Report,
        is_crowded: Callable[[], bool] = lambda: False,
        is_left: Callable[[], bool] = lambda: False,
    ) -> tuple[CacheEntry, bool]:
        """The outcome of a step, and whether somebody else made it (see ``Executor.outcome``).

        ``stored`` tells whether what an entry names is still there, and keeps it. When the build
        is cancelled because its client has left it (``is_left``), a step that another build waits
        for is made to its end first. Of what the step writes for another build, nothing is told
        here while the client is behind (``is_crowded``). Whoever waited for a command that fails
        is told that, and does not try again what would fail again.
        """

        def hear(stream: int, text: str) -> None:
            if not is_crowded():
                report.output(stream, text)

        while reuse:
            entry = self.get(key)
            if entry is not None and stored(entry):
                self._touch(key)
                return entry, True
            making = self._making.get(key)
            if making is None:
                break
            await making.over(hear)  # then look again: it may not have come to an end
            if making.failure is not None:
                raise making.failure.repeated(report.vertex.digest)
        made = _Making(report)
        self._making.setdefault(key, made)
        task = asyncio.ensure_future(make())
        try:
            entry = await asyncio.shield(task)
            self.put(key, entry, report)
        except asyncio.CancelledError:
            if is_left():
                await made.carry_on(task)
            await self._settle(key, task, report)
            raise
        except StepFailed as error:
            made.failure = error if error.is_repeatable else None
            raise
        finally:
            if self._making.get(key) is made:
                del self._making[key]
            made.done.set()
        return entry, False

    async def _settle(self, key: str, task: asyncio.Task[CacheEntry], report: Report) -> None:
        """Cancel what a build that is cancelled was making, or keep it if it is there."""
        task.cancel()
        while not task.done():
            with suppress(asyncio.CancelledError):
                await asyncio.wait({task})
        if not task.cancelled() and task.exception() is None:
            self.put(key, task.result(), report)

    def get(self, key: str) -> CacheEntry | None:
        """The outcome under a key."""
        step = self._steps.get(key)
        return None if step is None else CacheEntry(step.layer, step.created)

    def _touch(self, key: str) -> None:
        """It was used; written now and then only."""
        step, now = self._steps.get(key), time.time_ns()
        if step is None:
            return
        used = msgspec.structs.replace(step, uses=step.uses + 1)
        if now - step.used_at > _MINUTE:
            used = msgspec.structs.replace(used, used_at=now)
            with self._database.transaction(durable=False):
                self._table.put(key, used)
        self._steps[key] = used

    def put(self, key: str, entry: CacheEntry, report: Report | None = None) -> None:
        """Remember, with what is told of the step; the oldest entries go when they are too many."""
        now = time.time_ns()
        step = CachedStep(
            layer=entry.layer,
            created=entry.created,
            used_at=now,
            made_at=now,
            about=report.vertex.name[:_LONGEST_NAME] if report else "",
            below=report.below if report else "",
        )
        with self._database.transaction(durable=False):
            self._table.put(key, step)
        self._steps[key] = step
        if len(self._steps) > _MOST:
            oldest = sorted(self._steps, key=lambda key: self._steps[key].used_at)
            self.forget(oldest[: _MOST // 10])

    def usage(self, size: Callable[[str], int], held: frozenset[str]) -> list[CacheUsage]:
        """Every record; ``size`` tells a layer's bytes, ``held`` are the layers of images."""
        known = dict(self._steps)
        makers = {step.layer: _short(key) for key, step in known.items() if step.layer}
        return [
            CacheUsage(
                key,
                step.layer,
                size(step.layer) if step.layer else 0,
                step.layer in held,
                step.used_at,
                step.made_at or step.used_at,
                step.uses,
                description=step.about or f"layer {step.layer}",
                parent=makers.get(step.below, ""),
            )
            for key, step in known.items()
        ]

    def layers(self) -> Iterator[str]:
        """The layers that entries name."""
        return (step.layer for step in tuple(self._steps.values()) if step.layer)

    def forget(self, keys: list[str]) -> None:
        """Drop records."""
        with self._database.transaction(durable=False):
            for key in keys:
                self._table.delete(key)
        for key in keys:
            self._steps.pop(key, None)
