"""One build under way: its events, its outcome, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

from ketch.build.solver import Built, Prepared, solve

if TYPE_CHECKING:
    from ketch.build.executor import Executor
    from ketch.build.progress import Event
    from ketch.engine.builder_room import BuildRoom


class RunningBuild:
    """Runs the steps in a task of its own; whoever reads ``events`` slowly slows them down."""

    def __init__(self, room: BuildRoom, prepared: Prepared, executor: Executor) -> None:
        self._room = room
        self._executor = executor
        self.prepared = prepared
        self._task = asyncio.create_task(self._solve())

    async def _solve(self) -> Built:
        try:
            return await solve(self.prepared, self._executor, self._room.channel.put)
        finally:
            self._room.channel.close()

    async def events(self) -> AsyncIterator[Event]:
        """All events in order, to the last one."""
        while (event := await self._room.channel.get()) is not None:
            yield event

    async def built(self) -> Built:
        """The outcome; raises what ended the build: ``StepFailed``, other ``KetchError``."""
        return await self._task

    async def cancel(self) -> None:
        """Kill what runs and wait until it is gone."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
