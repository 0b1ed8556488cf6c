"""The way of a build's events from its steps to its client: in order, bounded in memory."""

from __future__ import annotations

import asyncio

from ketch.build.progress import Event

_ROOM = 256


class Channel:
    """Events wait here for the client; whoever makes many waits for ``room`` in between."""

    def __init__(self) -> None:
        self._waiting: list[Event] = []
        self._changed = asyncio.Event()
        self._closed = False

    def put(self, event: Event) -> None:
        """Queue an event; never waits."""
        self._waiting.append(event)
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

    async def get(self) -> list[Event]:
        """The events that wait, one at least; none at the end."""
        while not self._waiting and not self._closed:
            self._changed.clear()
            await self._changed.wait()
        events, self._waiting = self._waiting, []
        self._changed.set()
        return events
