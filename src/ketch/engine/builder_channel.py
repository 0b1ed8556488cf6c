"""The way of a build's output from its steps to its client: in order, bounded in memory."""

from __future__ import annotations

import asyncio
from collections import deque

from ketch.build.options import BuildOutput

_ROOM = 256


class Channel:
    """Messages wait here for the client; whoever makes many waits for ``room`` in between."""

    def __init__(self) -> None:
        self._waiting: deque[BuildOutput] = deque()
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, output: BuildOutput) -> None:
        """Queue a message; never waits."""
        self._waiting.append(output)
        self._changed.set()

    async def room(self) -> None:
        """Wait until the client has caught up."""
        while len(self._waiting) > _ROOM:
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Nothing comes any more."""
        self._closed = True
        self._changed.set()

    async def get(self) -> BuildOutput | None:
        """The next message; None at the end."""
        while not self._waiting:
            if self._closed:
                return None
            self._changed.clear()
            await self._changed.wait()
        output = self._waiting.popleft()
        self._changed.set()
        return output
