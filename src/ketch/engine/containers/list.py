"""Looking at containers: list, sizes, processes, counters."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers import top as container_top
from ketch.engine.containers.filters import matches, prepare
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.stats_sampler import Sample, StatsSampler
from ketch.engine.containers.top import TopTable
from ketch.engine.filters import Filters
from ketch.errors import Conflict, InvalidParameter, NotFound

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts


class ListOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which containers: ``limit`` 0 = all; ``filters`` with Docker's keys."""

    all: bool = False
    limit: int = 0
    filters: Filters = {}


class ContainerSizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the writable layer, and of it with the image's layers."""

    rw: int
    root: int


class Lister:
    """See the module's docstring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts
        self._sampler = StatsSampler(parts.store)

    def select(self, options: ListOptions) -> list[ContainerRecord]:
        """Records that match, newest first; a limit counts stopped ones too, as Docker does."""
        selection = prepare(options.filters, self._parts.store.resolve, self._image_ids)
        shows_stopped = options.all or options.limit > 0 or selection.shows_stopped
        found = [
            record
            for record in self._parts.store
            if (shows_stopped or record.state.running) and matches(record, selection)
        ]
        found.sort(key=lambda record: record.created_at, reverse=True)
        return found[: options.limit] if options.limit > 0 else found

    def _image_ids(self, ref: str) -> list[str]:
        """The image of ``ref`` and every image whose layers begin with its layers."""
        try:
            ancestor = self._parts.images.resolve(ref)
        except (NotFound, InvalidParameter):
            return []
        depth = len(ancestor.layers)
        return [
            *self._parts.images.variants(ref),
            *(
                image.id
                for image in self._parts.images.records()
                if depth and image.layers[:depth] == ancestor.layers
            ),
        ]

    def image_names(self, records: Sequence[ContainerRecord]) -> list[str]:
        """What a list calls the containers' images: what ``create`` was asked for, as long as that
        still leads to the image (a tag may have moved, or be gone); else the image's ID."""
        refs = {record.spec.image for record in records}
        now = {ref: self._parts.images.variants(ref) for ref in refs}
        return [
            record.spec.image if record.image_id in now[record.spec.image] else record.image_id
            for record in records
        ]

    async def sizes(self, ref: str) -> ContainerSizes:
        """Bytes of the writable layer, and of everything."""
        record = self._parts.store.resolve(ref)
        return await asyncio.to_thread(self._sizes, record)

    def _sizes(self, record: ContainerRecord) -> ContainerSizes:
        try:
            written = self._parts.snapshots.usage(record.id).size
        except NotFound:
            written = 0  # removed meanwhile
        image = 0
        for layer in record.layers:
            try:
                image += self._parts.snapshots.layer(layer).size
            except NotFound:
                continue
        return ContainerSizes(rw=written, root=written + image)

    async def top(self, ref: str, ps_args: str) -> TopTable:
        """ps of the container's processes."""
        record = self._running(ref)
        group = container_cgroup.of(record.state)
        pids = await asyncio.to_thread(group.pids)
        table = await container_top.top(pids, ps_args)
        self._parts.publish(record, "top")
        return table

    def _running(self, ref: str) -> ContainerRecord:
        record = self._parts.store.resolve(ref)
        if record.state.status is Status.RESTARTING:
            raise Conflict(
                f"Container {record.id} is restarting, wait until the container is running"
            )
        if not record.state.running:
            raise Conflict(f"container {record.id} is not running")
        return record

    def stats(self, ref: str) -> AsyncIterator[Sample]:
        """A sample now and one a second."""
        return self._sampler.follow(self._parts.store.resolve(ref).id)
