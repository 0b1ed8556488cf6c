"""Samples of running containers, taken once a second for all who watch.

One task samples every container that has a reader, however many readers and containers there are;
without readers it ends. A reader that is slow gets the newest sample and misses those between.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import contextmanager
from typing import TYPE_CHECKING, NamedTuple

from ketch.engine.containers import stats as container_stats
from ketch.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Iterator

    from ketch.engine.containers.record import ContainerRecord
    from ketch.engine.containers.stats_values import Stats
    from ketch.engine.containers.store import ContainerStore

INTERVAL = 1.0
"""Seconds between samples, as Docker's clients expect."""


class Sample(NamedTuple):
    """A container, its counters and those of a second before; None while it did not run."""

    record: ContainerRecord
    now: Stats | None
    before: Stats | None


class _Watched:
    """A container with readers. ``samples`` counts those taken."""

    def __init__(self) -> None:
        self.readers = 0
        self.samples = 0
        self.latest: Sample | None = None
        self.gone = False
        self.changed = asyncio.Event()

    def tell(self) -> None:
        changed, self.changed = self.changed, asyncio.Event()
        changed.set()


class StatsSampler:
    """See the module's docstring."""

    def __init__(self, store: ContainerStore) -> None:
        self._store = store
        self._watched: dict[str, _Watched] = {}
        self._task: asyncio.Task[None] | None = None

    async def follow(self, container_id: str) -> AsyncIterator[Sample]:
        """A sample at once, then one a second, until the container is removed."""
        with self._watching(container_id) as watched:
            seen = 0
            while True:
                if watched.samples > seen and watched.latest is not None:
                    seen = watched.samples
                    yield watched.latest
                if watched.gone:
                    return
                if watched.samples == seen:
                    await watched.changed.wait()

    @contextmanager
    def _watching(self, container_id: str) -> Iterator[_Watched]:
        watched = self._watched.get(container_id)
        if watched is None:
            watched = self._watched[container_id] = _Watched()
            self._take(container_id, watched, container_stats.system_cpu())
        watched.readers += 1
        if self._task is None or self._task.done():
            self._task = asyncio.create_task(self._run())
        try:
            yield watched
        finally:
            watched.readers -= 1
            if not watched.readers and self._watched.get(container_id) is watched:
                del self._watched[container_id]

    async def _run(self) -> None:
        loop = asyncio.get_running_loop()
        due = loop.time()
        while self._watched:
            due = max(due + INTERVAL, loop.time())
            await asyncio.sleep(due - loop.time())
            system = container_stats.system_cpu()
            for container_id, watched in tuple(self._watched.items()):
                self._take(container_id, watched, system)
                await asyncio.sleep(0)

    def _take(self, container_id: str, watched: _Watched, system: int) -> None:
        try:
            record = self._store.by_id(container_id)
        except NotFound:
            watched.gone = True
            self._watched.pop(container_id, None)
            watched.tell()
            return
        now = container_stats.sample(record, system)
        before = watched.latest.now if watched.latest is not None else None
        watched.latest = Sample(record, now, before)
        watched.samples += 1
        watched.tell()
