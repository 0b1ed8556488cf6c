"""What the builder remembers of steps, across builds and daemons.

Losing entries only costs time, so they are written without waiting for the disk.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Iterator
from typing import NamedTuple

import msgspec

from ketch.build.executor import CacheEntry, MakeEntry
from ketch.state.database import Database, Table

_MOST = 20_000


class CachedStep(msgspec.Struct, frozen=True, kw_only=True):
    """A step's outcome; ``used_at`` in ns since the epoch is when it was made."""

    layer: str
    created: str
    used_at: int


class CacheUsage(NamedTuple):
    """A record of the cache for ``system df``: bytes; ns since the epoch.

    ``shared``: an image holds the layer too, so forgetting the record frees nothing.
    """

    key: str
    layer: str
    size: int
    shared: bool
    used_at: int


class BuildCache:
    """Key → outcome, in memory for reading."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._table = Table(database, "build_cache", CachedStep)
        self._steps = self._table.all()
        self._making: dict[str, asyncio.Future[None]] = {}

    async def outcome(
        self, key: str, make: MakeEntry, stored: Callable[[CacheEntry], bool], *, reuse: bool
    ) -> tuple[CacheEntry, bool]:
        """The outcome of a step, and whether somebody else made it (see ``Executor.outcome``).

        ``stored`` tells whether what an entry names is still there, and keeps it.
        """
        while reuse:
            entry = self.get(key)
            if entry is not None and stored(entry):
                return entry, True
            making = self._making.get(key)
            if making is None:
                break
            await asyncio.wait({making})  # then look again: it may have failed
        made: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._making.setdefault(key, made)
        try:
            entry = await make()
            self.put(key, entry)
        finally:
            if self._making.get(key) is made:
                del self._making[key]
            made.set_result(None)
        return entry, False

    def get(self, key: str) -> CacheEntry | None:
        """The outcome under a key."""
        step = self._steps.get(key)
        return None if step is None else CacheEntry(step.layer, step.created)

    def put(self, key: str, entry: CacheEntry) -> None:
        """Remember; the oldest entries go when there are too many."""
        step = CachedStep(layer=entry.layer, created=entry.created, used_at=time.time_ns())
        with self._database.transaction(durable=False):
            self._table.put(key, step)
        self._steps[key] = step
        if len(self._steps) > _MOST:
            oldest = sorted(self._steps, key=lambda key: self._steps[key].used_at)
            self._forget(oldest[: _MOST // 10])

    def usage(self, size: Callable[[str], int], held: frozenset[str]) -> list[CacheUsage]:
        """Every record; ``size`` tells a layer's bytes, ``held`` are the layers of images."""
        return [
            CacheUsage(
                key,
                step.layer,
                size(step.layer) if step.layer else 0,
                step.layer in held,
                step.used_at,
            )
            for key, step in tuple(self._steps.items())
        ]

    def layers(self) -> Iterator[str]:
        """The layers that entries name."""
        return (step.layer for step in tuple(self._steps.values()) if step.layer)

    def prune(self, until: int) -> list[str]:
        """Forget entries that were made before an instant (ns); returns their keys."""
        doomed = [key for key, step in self._steps.items() if step.used_at < until]
        self._forget(doomed)
        return doomed

    def _forget(self, keys: list[str]) -> None:
        with self._database.transaction(durable=False):
            for key in keys:
                self._table.delete(key)
        for key in keys:
            self._steps.pop(key, None)
