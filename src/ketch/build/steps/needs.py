"""What steps need that no layer below them has: files from elsewhere, and of the client.

Each thing is had once in a build, whoever asks for it first. Since it needs nothing of the layers
below its step, it may begin long before the step is reached (``ketch.build.ahead``), as with
BuildKit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Hashable
from typing import Any

import msgspec

from ketch.build.executor import CopyPart, Executor, Tree
from ketch.build.failures import vertex_error
from ketch.build.progress.events import Event, Note, Report, Sink, Vertex, vertex_digest
from ketch.errors import KetchError

_AT_ONCE = 8  # of those that begin ahead of their steps

Make = Callable[[Report], Awaitable[Any]]
Key = tuple[Hashable, ...]


class _Need(msgspec.Struct, frozen=True):
    """One that is under way or there; ``notes`` are lines for the step that comes to it."""

    task: asyncio.Future[Any]
    notes: list[str]


class Needs:
    """All of one build."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._all: dict[Key, _Need] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)
        self._summing = asyncio.Lock()  # one worker has the context in memory

    async def url(self, url: str, name: str, checksum: str, report: Report) -> Tree:
        """See ``Executor.fetch``."""

        async def make(report: Report) -> Tree:
            return await self.executor.fetch(url, name, checksum)

        return await self._tree(("url", url, name, checksum), make, report)

    async def repository(
        self, url: str, checksum: str, *, keep_git_dir: bool, report: Report
    ) -> Tree:
        """See ``Executor.clone``."""

        async def make(report: Report) -> Tree:
            return await self.executor.clone(
                url, checksum, keep_git_dir=keep_git_dir, report=report
            )

        return await self._tree(("git", url, checksum, keep_git_dir), make, report)

    async def checksum(self, part: CopyPart, report: Report) -> str:
        """See ``Executor.checksum``."""
        if part.tree.kind != "context":
            return await self.executor.checksum(part)
        found: str = await self._had(_sum(part), self._summed(part), report)
        return found

    def _summed(self, part: CopyPart) -> Make:
        async def make(report: Report) -> str:
            return await self.executor.checksum(part)

        return make

    async def _tree(self, key: Key, make: Make, report: Report) -> Tree:
        found: Tree = await self._had(key, make, report)
        return found

    async def _had(self, key: Key, make: Make, report: Report) -> Any:
        if key not in self._all:
            self._all[key] = _Need(asyncio.ensure_future(make(report)), [])
        need = self._all[key]
        found = await asyncio.shield(need.task)
        for note in need.notes:
            report.note(note)
        return found

    def begin(
        self, key: Key, make: Make, sink: Sink, vertex: Vertex, *, shown: bool
    ) -> asyncio.Future[Any] | None:
        """Begin one ahead of its step; None when it began before. It has a vertex of its own; if
        it is not ``shown``, only when it fails."""
        if key in self._all:
            return None
        notes: list[str] = []

        def tell(event: Event) -> None:
            if isinstance(event, Note):
                notes.append(event.text)
            elif shown:
                sink(event)

        async def made() -> Any:
            async with self._room if shown else self._summing:
                report = Report(tell, vertex)
                try:
                    found = await make(report)
                except KetchError as error:
                    report = report if shown else Report(sink, vertex)
                    report.end(error=vertex_error(error))
                    raise
                except BaseException:
                    report.end(error="canceled")
                    raise
                report.end()
                return found

        task = asyncio.ensure_future(made())
        self._all[key] = _Need(task, notes)
        return task

    async def close(self) -> None:
        """Nothing is wanted any more."""
        tasks = [need.task for need in self._all.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Beginnings(Needs):
    """Needs that only begin: who asks gets an answer in name.

    They are among ``needs``, under vertices like ``vertex``. What can't be had is a failure of its
    step, which ``failure`` makes, and ``failed`` is told it.
    """

    def __init__(
        self,
        needs: Needs,
        sink: Sink,
        vertex: Vertex,
        failure: Callable[[KetchError], KetchError],
        failed: Callable[[KetchError], None],
    ) -> None:
        super().__init__(needs.executor)
        self._needs = needs
        self._sink = sink
        self._vertex = vertex
        self._failure = failure
        self._failed = failed

    async def checksum(self, part: CopyPart, report: Report) -> str:
        """Begun only."""
        if part.tree.kind == "context":
            self._begin(_sum(part), self._summed(part), shown=False)
        return ""

    async def _tree(self, key: Key, make: Make, report: Report) -> Tree:
        self._begin(key, make, shown=True)
        return Tree("fetched")

    def _begin(self, key: Key, make: Make, *, shown: bool) -> None:
        digest = vertex_digest(self._vertex.digest, *key)
        vertex = msgspec.structs.replace(self._vertex, digest=digest)

        async def had(report: Report) -> Any:
            try:
                return await make(report)
            except KetchError as error:
                raise self._failure(error) from None

        task = self._needs.begin(key, had, self._sink, vertex, shown=shown)
        if task is not None:
            task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Future[Any]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), KetchError):
            self._failed(error)


def _sum(part: CopyPart) -> Key:
    return ("checksum", part)
