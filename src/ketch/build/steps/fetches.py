"""What ADD fetches from elsewhere: each thing once in a build, whoever asks for it first.

A fetch needs nothing of the layers below its step, so it may begin long before the step is reached
(``ketch.build.ahead``), as with BuildKit.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable

import msgspec

from ketch.build.executor import Executor, Tree
from ketch.build.failures import vertex_error
from ketch.build.progress.events import Event, Note, Report, Sink, Vertex, vertex_digest
from ketch.errors import KetchError

_AT_ONCE = 8  # of those that begin ahead of their steps

Make = Callable[[Report], Awaitable[Tree]]
Key = tuple[str, ...]


class _Fetch(msgspec.Struct, frozen=True):
    """One that is under way or done; ``notes`` are lines for the step that comes to it."""

    task: asyncio.Future[Tree]
    notes: list[str]


class Fetches:
    """All of one build."""

    def __init__(self, executor: Executor) -> None:
        self.executor = executor
        self._all: dict[Key, _Fetch] = {}
        self._room = asyncio.Semaphore(_AT_ONCE)

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

        return await self._tree(("git", url, checksum, str(keep_git_dir)), make, report)

    async def _tree(self, key: Key, make: Make, report: Report) -> Tree:
        if key not in self._all:
            self._all[key] = _Fetch(asyncio.ensure_future(make(report)), [])
        fetch = self._all[key]
        tree = await asyncio.shield(fetch.task)
        for note in fetch.notes:
            report.note(note)
        return tree

    def begin(
        self, key: Key, make: Make, sink: Sink, vertex: Vertex
    ) -> asyncio.Future[Tree] | None:
        """Begin one ahead of its step, under a vertex of its own; None when it began before."""
        if key in self._all:
            return None
        notes: list[str] = []

        def tell(event: Event) -> None:
            if isinstance(event, Note):
                notes.append(event.text)
            else:
                sink(event)

        task = asyncio.ensure_future(self._made(make, tell, vertex))
        self._all[key] = _Fetch(task, notes)
        return task

    async def _made(self, make: Make, sink: Sink, vertex: Vertex) -> Tree:
        async with self._room:
            report = Report(sink, vertex)
            try:
                tree = await make(report)
            except BaseException as error:
                report.end(error=vertex_error(error))
                raise
            report.end()
            return tree

    async def close(self) -> None:
        """Nothing is fetched any more."""
        tasks = [fetch.task for fetch in self._all.values()]
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)


class Beginnings(Fetches):
    """Fetches that only begin: who asks gets a tree in name.

    They are among ``fetches``, under vertices like ``vertex``; ``failed`` is told what can't be
    fetched.
    """

    def __init__(
        self, fetches: Fetches, sink: Sink, vertex: Vertex, failed: Callable[[KetchError], None]
    ) -> None:
        super().__init__(fetches.executor)
        self._fetches = fetches
        self._sink = sink
        self._vertex = vertex
        self._failed = failed

    async def _tree(self, key: Key, make: Make, report: Report) -> Tree:
        digest = vertex_digest(self._vertex.digest, *key)
        vertex = msgspec.structs.replace(self._vertex, digest=digest)
        task = self._fetches.begin(key, make, self._sink, vertex)
        if task is not None:
            task.add_done_callback(self._ended)
        return Tree("fetched")

    def _ended(self, task: asyncio.Future[Tree]) -> None:
        if not task.cancelled() and isinstance(error := task.exception(), KetchError):
            self._failed(error)
