"""The client's SSH agent inside a RUN step: a socket, each connection carried to the client."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ketch.errors import KetchError

if TYPE_CHECKING:
    from ketch.build.request.offers import Offers

_CHUNK = 1 << 16


class ForwardedAgent:
    """One agent of a client."""

    def __init__(self, offers: Offers, id: str) -> None:
        self._offers = offers
        self._id = id
        self._open: set[asyncio.Task[None]] = set()

    @asynccontextmanager
    async def listening(self, path: str) -> AsyncIterator[None]:
        """Accept connections at ``path``; all are closed at the end."""
        server = await asyncio.start_unix_server(self._accept, path)
        try:
            yield
        finally:
            server.close()
            for task in self._open:
                task.cancel()
            await asyncio.gather(*self._open, return_exceptions=True)

    async def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._open.add(task)
        try:
            answers, questions = await self._offers.agent(self._id)
            try:
                async with asyncio.TaskGroup() as ways:
                    ways.create_task(_pump(reader, questions))
                    ways.create_task(_pump(answers, writer))
            finally:
                questions.close()
        except* (KetchError, OSError):
            pass  # the program in the step sees its connection end
        finally:
            self._open.discard(task)
            writer.close()


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    """One way of a conversation: its end is told, and the other way stays open."""
    while data := await reader.read(_CHUNK):
        writer.write(data)
        await writer.drain()
    if not writer.is_closing():
        writer.write_eof()
