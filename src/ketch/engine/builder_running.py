"""One build under way: its events, its outcome, its end."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Awaitable
from typing import TYPE_CHECKING, Any

from ketch.build.prepared import Prepared
from ketch.build.solver import Built, Solver, outcome_of
from ketch.engine.builder_export import Exporting
from ketch.engine.builder_history import CANCELED, COMPLETED, ERROR
from ketch.engine.builder_result import Result
from ketch.errors import Cancelled

if TYPE_CHECKING:
    from ketch.build.failures import Place
    from ketch.build.progress import Event
    from ketch.build.state import StageState
    from ketch.engine.builder_executor import BuildExecutor
    from ketch.engine.builder_history import Recording
    from ketch.engine.builder_room import BuildRoom


class RunningBuild:
    """Runs the steps in a task of its own; whoever reads ``events`` slowly slows them down.

    With a ``gate``, nothing is stored before it answers, and only if it answers True.
    """

    def __init__(
        self,
        room: BuildRoom,
        prepared: Prepared,
        executor: BuildExecutor,
        recording: Recording,
        gate: Awaitable[bool] | None = None,
    ) -> None:
        self._room = room
        self._recording = recording
        self._solver = Solver(prepared, executor, recording.tee(room.channel.put))
        self._exporting = Exporting(room, executor)
        self._gate = gate
        self.prepared = prepared
        self._ready: asyncio.Future[StageState] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    @property
    def failed_at(self) -> Place | None:
        """Where in the Dockerfile the step stands that failed."""
        return self._solver.failed_at

    @property
    def ref(self) -> str:
        """The build's reference in the history."""
        return self._recording.record.ref

    async def _run(self) -> Built | None:
        try:
            built = await self._steps()
        except asyncio.CancelledError:
            self._recording.end(CANCELED)
            raise
        except Exception as error:
            self._recording.end(ERROR, error=str(error))
            raise
        finally:
            self._ready.cancel()
            self._room.channel.close()
        self._recording.end(COMPLETED, image=built.image if built else "")
        return built

    async def _steps(self) -> Built | None:
        state = await self._solver.run()
        if not self._ready.done():
            self._ready.set_result(state)
        if self._gate is not None and not await self._gate:
            return None
        config, parent = outcome_of(state)
        result = Result(
            platform=state.image.platform, config=config, layers=tuple(state.layers), parent=parent
        )
        return await self._exporting.run([result], self._solver.reporting)

    async def solved(self) -> StageState:
        """The target stage, before it is stored; raises what ended the build."""
        waited: set[asyncio.Future[Any]] = {self._ready, self._task}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done() or self._ready.cancelled():
            await self._task
        return self._ready.result()

    async def events(self) -> AsyncIterator[Event]:
        """All events in order, to the last one."""
        while (event := await self._room.channel.get()) is not None:
            yield event

    async def built(self) -> Built:
        """The outcome; raises what ended the build: ``StepFailed``, other ``KetchError``, or
        ``Cancelled`` when the gate stayed closed."""
        built = await self._task
        if built is None:
            raise Cancelled("the build's outcome was not wanted")
        return built

    async def cancel(self) -> None:
        """Kill what runs and wait until it is gone."""
        self._task.cancel()
        await asyncio.gather(self._task, return_exceptions=True)
