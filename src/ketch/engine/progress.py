"""Long operations as streams of ``Progress``: one coroutine that reports, one generator that tells.

Work in an async generator would stop whenever its reader is slow, and leave its contexts open when
nobody closes it; so the work is a task of its own, and the generator only hands its lines on.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any

import msgspec

if TYPE_CHECKING:
    from ketch.build.progress.events import Report


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a long operation, in the terms of Docker's progress stream.

    ``heading``: it has an ID, but is no state of that, so clients draw no bar for it.
    """

    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    stream: str = ""
    error: str = ""
    aux: dict[str, Any] = {}
    heading: bool = False


Emit = Callable[[Progress], None]
_INTERVAL = 0.1  # seconds between two lines of one meter


async def streamed(run: Callable[[Emit], Coroutine[Any, Any, None]]) -> AsyncIterator[Progress]:
    """The lines that ``run`` emits; raises what it raises. Closing the generator cancels it."""
    queue: asyncio.Queue[Progress | None] = asyncio.Queue()
    task = asyncio.create_task(run(queue.put_nowait))
    task.add_done_callback(lambda _: queue.put_nowait(None))
    try:
        while (line := await queue.get()) is not None:
            yield line
        await task
    finally:
        task.cancel()
        await asyncio.gather(task, return_exceptions=True)


def reported(report: Report, name: object) -> Emit:
    """Lines as statuses of a build's vertex; ``name`` stands for lines that name nothing."""
    return lambda line: report.status(line.id or str(name), line.status, line.current, line.total)


async def all_of(works: Iterable[Coroutine[Any, Any, None]]) -> None:
    """Run works together; the first error cancels the others and is raised as it is."""
    tasks = [asyncio.ensure_future(work) for work in works]
    try:
        await asyncio.gather(*tasks)
    finally:
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Meter:
    """Progress of one layer in bytes, told at most ten times a second."""

    def __init__(self, emit: Emit, status: str, id: str, total: int) -> None:
        self._emit = emit
        self._line = (status, id, total)
        self._next = 0.0

    def __call__(self, current: int) -> None:
        now = time.monotonic()
        status, id, total = self._line
        if now >= self._next or current >= total:
            self._next = now + _INTERVAL
            self._emit(Progress(status=status, id=id, current=current, total=total))

    async def watch(self, position: Callable[[], int], work: Awaitable[Any]) -> Any:
        """Await ``work`` while telling what ``position`` says."""
        task = asyncio.ensure_future(work)
        try:
            while not (await asyncio.wait([task], timeout=_INTERVAL))[0]:
                self(position())
            return await task
        finally:
            task.cancel()
            await asyncio.gather(task, return_exceptions=True)
