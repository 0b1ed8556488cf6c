"""Builds by the reference that their clients gave them: what they said, where they stand.

A client calls ``Control.Solve`` and ``Control.Status`` with the same reference at the same time, so
each may come first. What a build said is kept until some time after its end.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ketch.build.progress.events import Began, Ended, Event, Log
from ketch.errors import Conflict, NotFound

if TYPE_CHECKING:
    from ketch.buildkit.messages.control import SolveRequest
    from ketch.buildkit.messages.gateway import ReturnRequest

_PATIENCE = 30.0  # seconds that a status call waits for its build
_MEMORY = 30.0  # seconds that an ended build is remembered
_LOG_LIMIT = 2 << 20  # characters of one vertex
_LEAST = 32  # characters that a piece counts for, since it takes memory of its own
_CLIPPED = "\n[output clipped, log limit 2MiB reached]\n"


class Job:
    """One build and its listeners. ``returned`` is what a client that drives it itself sends."""

    def __init__(self, request: SolveRequest) -> None:
        self.request = request
        self.returned: asyncio.Future[ReturnRequest] = asyncio.get_running_loop().create_future()
        self._events: list[Event] = []
        self._logged: dict[str, int] = {}
        self._over = False
        self._changed = asyncio.Condition()

    async def tell(self, event: Event) -> None:
        """Something happened."""
        kept = self._clipped(event)
        if kept is None:
            return
        async with self._changed:
            self._events.append(kept)
            self._changed.notify_all()

    def _clipped(self, event: Event) -> Event | None:
        """A vertex that writes without end must not fill the memory."""
        if not isinstance(event, Log):
            return event
        before = self._logged.get(event.digest, 0)
        after = before + max(len(event.text), _LEAST)
        self._logged[event.digest] = after
        if after <= _LOG_LIMIT:
            return event
        if before > _LOG_LIMIT:
            return None
        return Log(event.digest, event.stream, _CLIPPED, event.at)

    async def end(self) -> None:
        """Nothing happens any more."""
        async with self._changed:
            self._over = True
            self._changed.notify_all()
        if not self.returned.done():
            self.returned.cancel()

    async def events(self) -> AsyncIterator[list[Event]]:
        """Everything from the beginning on, as it comes."""
        seen = 0
        while True:
            async with self._changed:
                while len(self._events) <= seen and not self._over:
                    await self._changed.wait()
            fresh = self._events[seen:]
            if not fresh:
                return
            seen += len(fresh)
            yield fresh

    def counts(self) -> tuple[int, int]:
        """Vertices that began and that were cached."""
        began = sum(isinstance(event, Began) for event in self._events)
        cached = sum(isinstance(event, Ended) and event.cached for event in self._events)
        return began, cached


class Jobs:
    """All builds that clients may ask for."""

    def __init__(self) -> None:
        self._jobs: dict[str, Job] = {}
        self._changed = asyncio.Condition()

    async def open(self, request: SolveRequest) -> Job:
        """A new build; raises ``Conflict`` when its reference is taken."""
        if request.Ref in self._jobs:
            raise Conflict(f"a build with the reference {request.Ref!r} exists already")
        job = Job(request)
        async with self._changed:
            self._jobs[request.Ref] = job
            self._changed.notify_all()
        return job

    def has(self, ref: str) -> bool:
        """Whether the build runs or ended a moment ago."""
        return ref in self._jobs

    async def get(self, ref: str) -> Job:
        """The build, as soon as it is there; raises ``NotFound`` if it does not come."""
        try:
            async with asyncio.timeout(_PATIENCE), self._changed:
                await self._changed.wait_for(lambda: ref in self._jobs)
                return self._jobs[ref]
        except TimeoutError:
            raise NotFound(f"no build has the reference {ref!r}") from None

    async def close(self, job: Job) -> None:
        """The build is over; it is forgotten after a while."""
        await job.end()
        forget = self._jobs.pop
        asyncio.get_running_loop().call_later(_MEMORY, forget, job.request.Ref, None)
