"""A program that a build's client runs in a container: its streams, its end."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ketch.build.progress.events import STDOUT
from ketch.engine.builder.steps.output import RawFrames
from ketch.engine.builder.steps.sandbox import end
from ketch.errors import KetchError

if TYPE_CHECKING:
    from ketch.runtime.remote import Exit, Shim

_CHUNK = 1 << 16


class BuildProcess:
    """One of them, running. ``tree``: it is not alone in its sandbox, so its end is that of all
    that it started."""

    def __init__(
        self, sock: socket.socket, shim: Shim, *, framed: bool, tree: bool = False
    ) -> None:
        self._sock = sock
        self._shim = shim
        self._framed = framed
        self._tree = tree
        self.ended = False

    async def output(self) -> AsyncIterator[tuple[int, bytes]]:
        """What it writes, with the stream's number, until the end of all streams; a terminal has
        only the first. It is held back while nobody takes it."""
        loop = asyncio.get_running_loop()
        frames = RawFrames()
        while chunk := await self._received(loop):
            if not self._framed:
                yield STDOUT, chunk
                continue
            for stream, data in frames.feed(chunk):
                yield stream, data

    async def _received(self, loop: asyncio.AbstractEventLoop) -> bytes:
        try:
            return await loop.sock_recv(self._sock, _CHUNK)
        except OSError:
            return b""  # the supervisor was killed

    async def write(self, data: bytes) -> None:
        """Input; waits while the program takes none, and is lost when it has ended."""
        with suppress(OSError):
            await asyncio.get_running_loop().sock_sendall(self._sock, data)

    def end_input(self) -> None:
        """No more comes."""
        with suppress(OSError):
            self._sock.shutdown(socket.SHUT_WR)

    async def resize(self, height: int, width: int) -> None:
        """The terminal's size, in characters; without a terminal it means nothing."""
        if not self._framed:
            with suppress(KetchError):
                await self._shim.resize(height, width)

    async def signal(self, number: int) -> None:
        """Send a signal; one that has ended gets none."""
        with suppress(KetchError):
            await self._shim.signal(number)

    async def exited(self) -> Exit:
        """Await its end; raises ``Unavailable`` when its supervisor died."""
        try:
            return await self._shim.exited()
        finally:
            self.ended = True

    async def end(self) -> None:
        """Kill it if it still runs, and let go of it."""
        self.ended = True
        if self._tree:
            with suppress(KetchError):
                await self._shim.kill_tree()
        await end(self._shim)
        self._sock.close()
