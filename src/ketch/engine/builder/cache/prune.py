"""What the build cache holds, and forgetting of it: when asked, and by itself after builds."""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import Callable, Iterable, Sequence
from typing import TYPE_CHECKING, Protocol

import msgspec

from ketch.engine.builder.cache.gc import Amounts, Rule, check_filters, chosen, matching
from ketch.engine.builder.cache.records import MOUNT, STEP, CacheUsage
from ketch.engine.filters import Filters
from ketch.engine.prune_report import PruneReport

if TYPE_CHECKING:
    from ketch.engine.builder.cache.mounts import CacheMounts
    from ketch.engine.builder.cache.records import BuildCache
    from ketch.engine.containers.parts import Parts

_COLLECTION_EVERY = 600.0  # seconds


class CachePruneReport(PruneReport, frozen=True, kw_only=True):
    """``records`` are what ``deleted`` names."""

    records: tuple[CacheUsage, ...] = ()


class Kept(Protocol):
    """Sources of builds that wait for the next one."""

    def usage(self) -> list[CacheUsage]:
        """Every one."""

    def drop(self, keys: Iterable[str]) -> object:
        """Forget some; other keys are none of it."""

    def rule(self) -> Rule:
        """The bounds of its own."""

    def trim(self) -> None:
        """Keep to them."""


class Pruner:
    """Of steps, directories of cache mounts and what is ``kept`` of sources; ``forgotten`` is
    called at every prune."""

    def __init__(
        self,
        parts: Parts,
        steps: BuildCache,
        mounts: CacheMounts,
        kept: Sequence[Kept],
        forgotten: Callable[[], None],
    ) -> None:
        self._parts = parts
        self._steps = steps
        self._mounts = mounts
        self._kept = kept
        self._forgotten = forgotten
        self._next_collection = time.monotonic() + _COLLECTION_EVERY

    async def usage(self) -> list[CacheUsage]:
        """Every record, for ``system df``."""
        images = self._parts.images
        held = frozenset(layer for image in images.records() for layer in image.layers)
        steps = await asyncio.to_thread(self._steps.usage, images.layer_size, held)
        mounts = await asyncio.to_thread(self._mounts.usage)
        return [*steps, *mounts, *(one for each in self._kept for one in each.usage())]

    async def prune(
        self,
        filters: Filters,
        amounts: Amounts = Amounts(),  # noqa: B008
        *,
        expressions: Sequence[str] = (),
        all: bool = False,
    ) -> CachePruneReport:
        """Forget build cache records; layers that no image holds go with them.

        ``filters``, ``expressions`` and ``amounts`` as in ``builder.gc``. Records have no labels:
        ``label`` finds none (``system prune`` sends it here too), ``label!`` all. Without ``all``
        steps stay whose layer an image holds, and those without a layer: forgetting them frees
        nothing, and the next build of that image would run them again.
        """
        report = await self._pruned(filters, amounts, expressions, all=all)
        self._parts.events.pruned("builder", report.reclaimed)
        return report

    async def _pruned(
        self,
        filters: Filters,
        amounts: Amounts,
        expressions: Sequence[str] = (),
        *,
        all: bool = True,
    ) -> CachePruneReport:
        known = {key: values for key, values in filters.items() if key != "label!"}
        labels = known.pop("label", ())
        check_filters(known)
        if labels:
            return CachePruneReport()
        records = await self.usage()
        free = await asyncio.to_thread(_free, self._parts.config.data_root)
        amounts = msgspec.structs.replace(amounts, free=free)
        candidates = matching(records, known, expressions)
        if not all:
            candidates = [
                one for one in candidates if one.type != STEP or (one.layer and not one.shared)
            ]
        doomed = chosen(records, candidates, amounts)
        steps = [record.key for record in doomed if record.type == STEP]
        self._steps.forget(steps)
        self._forgotten()
        mounts = set(self._mounts.drop([record.key for record in doomed if record.is_mount]))
        sources = [record.key for record in doomed if record.type not in (STEP, MOUNT)]
        for each in self._kept:
            each.drop(sources)
        gone = tuple(one for one in doomed if not one.is_mount or one.key in mounts)
        freed = sum(one.size for one in gone if one.type != STEP)
        reclaimed = await self._parts.images.collect_garbage() + freed
        deleted = tuple(one.id for one in gone)
        return CachePruneReport(deleted=deleted, reclaimed=reclaimed, records=gone)

    async def collect_in_time(self) -> None:
        """Keep the cache in its bounds: after builds, but not after each."""
        now = time.monotonic()
        if now < self._next_collection:
            return
        self._next_collection = now + _COLLECTION_EVERY
        await self.collect()

    def told(self) -> list[Rule]:
        """All that goes by itself, and when."""
        return [*(each.rule() for each in self._kept), *self.rules()]

    def rules(self) -> Sequence[Rule]:
        """By which the cache is kept in its bounds."""
        found = os.statvfs(self._parts.config.data_root)
        return self._parts.config.build_cache.on(found.f_blocks * found.f_frsize)

    async def collect(self) -> None:
        """By the rules of the daemon's configuration, and sources by their own bounds."""
        for each in self._kept:
            each.trim()
        for rule in self.rules():
            filters = dict(rule.filters)
            if rule.unused_for:
                filters["until"] = (str(time.time_ns() - rule.unused_for),)
            await self._pruned(filters, rule.amounts)


def _free(path: str) -> int:
    """Bytes that the file system has for more."""
    found = os.statvfs(path)
    return found.f_bavail * found.f_frsize
