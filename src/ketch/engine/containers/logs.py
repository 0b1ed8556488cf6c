"""Reading a container's log, and following it to the end of the container."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers import log_options
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.errors import InvalidParameter, Unsupported
from ketch.logs import entries, reader
from ketch.logs.entries import Selection

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts


LogEntry = entries.Entry
"""One line of a log."""


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which log lines; instants in ns since the epoch, ``tail`` -1 = all."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since: int = 0
    until: int = 0
    tail: int = -1


class Logs:
    """See the module's docstring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def read(self, ref: str, options: LogOptions) -> AsyncIterator[list[LogEntry]]:
        """Check, then an iterator over the entries, in portions."""
        record = self._parts.store.resolve(ref)
        if not (options.stdout or options.stderr):
            raise InvalidParameter("must specify at least one of 'stdout' or 'stderr'")
        if not record.log_path:
            raise Unsupported("configured logging driver does not support reading")
        return self._entries(record, options)

    async def _entries(
        self, record: ContainerRecord, options: LogOptions
    ) -> AsyncIterator[list[LogEntry]]:
        streams = {"stdout"} if options.stdout else set()
        streams |= {"stderr"} if options.stderr else set()
        async for batch in self._batches(record, options):
            entries = [entry for entry in batch if entry.stream in streams]
            if entries:
                yield entries

    async def _batches(
        self, record: ContainerRecord, options: LogOptions
    ) -> AsyncIterator[list[LogEntry]]:
        selection = Selection(since=options.since, until=options.until, tail=options.tail)
        driver = log_options.kept_as(record.spec.log)
        if not options.follow:
            for batch in reader.read(record.log_path, selection, driver):
                yield batch
                await asyncio.sleep(0)
            return
        ended = asyncio.Event()
        watching = asyncio.ensure_future(self._watch_end(record.id, ended))
        try:
            async for batch in reader.follow(record.log_path, selection, ended, driver):
                yield batch
        finally:
            watching.cancel()

    async def _watch_end(self, container_id: str, ended: asyncio.Event) -> None:
        """Set ``ended`` when the container does not run and nothing will start it again."""
        while container_id in self._parts.store:
            live = self._parts.live[container_id]
            state = self._parts.store.by_id(container_id).state
            if state.running and live.exited is not None:
                await asyncio.wait((live.exited,))
            elif state.status is Status.RESTARTING and live.restart is not None:
                await asyncio.wait((live.restart,))
            else:
                break
        ended.set()
