"""The way of a build's events from its steps to its client: in order, bounded in memory."""

from __future__ import annotations

import asyncio
from contextlib import suppress

from ketch.build.progress.events import Event

_ROOM = 256
_MOMENT = 0.01  # seconds: what happens within it is told at once, with one wake-up of the client


class Channel:
    """Events wait here for the client; whoever makes many waits for ``room`` in between."""

    def __init__(self) -> None:
        self._waiting: list[Event] = []
        self._changed = asyncio.Event()
        self._closed = False
        self.is_left = False  # by its client: perhaps nobody reads any more

    def leave(self) -> None:
        """The client has gone: nobody need read what comes, and nothing waits for room."""
        self.is_left = True
        self._changed.set()

    def put(self, event: Event) -> None:
        """Queue an event; never waits."""
        if self.is_left and self.is_crowded:
            return
        self._waiting.append(event)
        self._changed.set()

    @property
    def is_crowded(self) -> bool:
        """Whether the client is behind: what it need not be told can be left out."""
        return len(self._waiting) > _ROOM

    async def room(self) -> None:
        """Wait until the client has caught up."""
        while self.is_crowded and not self.is_left:
            self._changed.clear()
            await self._changed.wait()

    def close(self) -> None:
        """Nothing comes any more."""
        self._closed = True
        self._changed.set()

    async def get(self) -> list[Event]:
        """The events of a moment, one at least; none at the end."""
        while not self._waiting and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        with suppress(TimeoutError):
            async with asyncio.timeout(_MOMENT):
                while not self._closed and len(self._waiting) <= _ROOM:
                    self._changed.clear()
                    await self._changed.wait()
        events, self._waiting = self._waiting, []
        self._changed.set()
        return events

    @property
    def closed(self) -> bool:
        """Whether what ``get`` gave last was all."""
        return self._closed and not self._waiting
