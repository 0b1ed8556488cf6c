"""A large context of ``ketch build``: its client is asked for the paths that steps name.

The client listens for demands while the build runs, and answers each with a tar archive in a
request of its own (docs/beyond.md). Nothing is kept here: the archive goes through to the worker.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any, NamedTuple

from ketch.build.contexts.wanted import ALL, EVERYTHING, Paths
from ketch.build.progress.meter import Meter
from ketch.engine.pipes import fed
from ketch.engine.storing import storing
from ketch.errors import Conflict, NotFound, Unavailable

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.engine.builder.contexts.source import TarSource
    from ketch.engine.builder.workers import BuildWorkers

DEFINITION = "\0dockerfile"
"""What a Dockerfile that comes by itself is called among the contexts of its build."""
_PATIENCE = 10.0  # seconds for a client that does not listen
_GONE = "the client went away before the build had its context"
Stream = AsyncIterator[bytes]


class Demand(NamedTuple):
    """Paths and patterns of a context ("": the build's own), or ``.`` for all of it."""

    number: int
    name: str
    paths: tuple[str, ...]


class Demands:
    """What one build asks of its client."""

    def __init__(self) -> None:
        self._open: dict[int, tuple[asyncio.Future[Stream], asyncio.Future[None]]] = {}
        self._told: asyncio.Queue[Demand | None] = asyncio.Queue()
        self._heard: asyncio.Event = asyncio.Event()
        self._count = 0
        self._over = False  # nobody listens any more, or needs to

    async def bring(self, name: str, paths: Paths) -> Stream:
        """The tar archive of some paths, as it arrives; raises ``Unavailable``.

        An async generator: the client's request lasts until it ends or is closed.
        """
        if self._over:
            raise Unavailable(_GONE)
        loop = asyncio.get_running_loop()
        demand = Demand(self._count, name, tuple(sorted(paths)))
        self._count += 1
        came, done = loop.create_future(), loop.create_future()
        self._open[demand.number] = came, done
        self._told.put_nowait(demand)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._heard.wait()
            async for piece in await came:
                yield piece
        except TimeoutError:
            raise Unavailable("the build's client does not listen for demands") from None
        finally:
            del self._open[demand.number]
            if not done.done():
                done.set_result(None)

    async def listen(self) -> AsyncIterator[Demand]:
        """The demands as they come, until the build is over. One client listens, once: when it
        ends before the build, what is asked for does not come any more."""
        if self._heard.is_set():
            raise Conflict("somebody listens for the build's demands already")
        self._heard.set()
        try:
            while not self._over and (demand := await self._told.get()) is not None:
                yield demand
        finally:
            self._end()

    async def answer(self, number: int, pieces: Stream) -> None:
        """The archive that a demand asked for; returns when nobody reads it any more.

        Raises ``NotFound`` when nothing of that number is asked for.
        """
        came, done = self._open.get(number, (None, None))
        if came is None or done is None or came.done():
            raise NotFound(f"the build has no open demand {number}")
        came.set_result(_whole(pieces))
        await done

    def close(self) -> None:
        """The build is over."""
        self._told.put_nowait(None)
        self._end()

    def _end(self) -> None:
        self._over = True
        for came, _ in self._open.values():
            if not came.done():
                came.set_exception(Unavailable(_GONE))


async def _whole(pieces: Stream) -> Stream:
    """A client that breaks off says why on its own side."""
    try:
        async for piece in pieces:
            yield piece
    except OSError:
        raise Unavailable(_GONE) from None


class DemandedSource:
    """A Dockerfile (and its ignore file) that came with the request, and directories that the
    client sends as they are asked for, less what is ignored, with all that links lead to."""

    def __init__(self, dockerfiles: TarSource, demands: Demands) -> None:
        self._dockerfiles = dockerfiles
        self._demands = demands

    def picks(self, name: str) -> bool:
        """The client sends what it is asked for."""
        return True

    def title(self, path: str) -> str:
        """The Dockerfile's."""
        return self._dockerfiles.title(path)

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """It is here."""
        return await self._dockerfiles.dockerfile(workers, path, report)

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """Found with the Dockerfile."""
        return await self._dockerfiles.ignore(workers, path)

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """One archive."""
        meter = Meter(report, f"transferring {name or 'context'}:")
        asked = paths if ALL not in paths and all(map(_is_text, paths)) else EVERYTHING

        async def receive(fd: int) -> Any:
            return await workers.receive_image(fd, name)

        stream = self._demands.bring(name, asked)
        try:
            with storing("the build context"):
                await fed(_counted(stream, meter), receive)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
        meter.end()


def _is_text(path: str) -> bool:
    """Whether a path can be told in JSON."""
    try:
        path.encode()
    except UnicodeEncodeError:
        return False
    return True


async def _counted(stream: Stream, meter: Meter) -> Stream:
    async for piece in stream:
        meter.add(len(piece))
        yield piece
