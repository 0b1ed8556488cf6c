"""One build under way: its events, its outcome, its end."""

from __future__ import annotations

import asyncio
import logging
from collections.abc import AsyncIterator, Awaitable, Sequence
from typing import TYPE_CHECKING, Any

from ketch.build.prepared import Prepared
from ketch.build.progress.vertices import Vertices
from ketch.build.request.epoch import epoch_of, epoch_text
from ketch.build.scanned import scanned
from ketch.build.solver import Built, Solver, outcome_of
from ketch.build.steps.image_config import timestamp
from ketch.engine.builder.history.files import failure_of
from ketch.engine.builder.history.records import CANCELED, COMPLETED, ERROR
from ketch.engine.builder.outcome.export import Exporting
from ketch.engine.builder.outcome.invocation import begun
from ketch.engine.builder.outcome.result import Result
from ketch.engine.builder.outcome.verify import check_same
from ketch.errors import Cancelled, KetchError, Unavailable, in_words

if TYPE_CHECKING:
    from ketch.build.failures import Place
    from ketch.build.progress.events import Event
    from ketch.build.steps.state import StageState
    from ketch.engine.builder.history.files import KeptFile
    from ketch.engine.builder.history.records import Recording
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.container import Containers
    from ketch.engine.builder.steps.executor import BuildExecutor

_log = logging.getLogger("ketch.engine.builder")


class RunningBuild:
    """Runs the steps in a task of its own; whoever reads ``events`` slowly slows them down.

    ``containers`` opens containers of the client's own while the build is not closed. With a
    ``gate``, nothing is stored before it answers, and only if it answers True.
    """

    def __init__(
        self,
        room: BuildRoom,
        plans: Sequence[Prepared],
        executor: BuildExecutor,
        recording: Recording,
        containers: Containers,
        gate: Awaitable[bool] | None = None,
    ) -> None:
        self.containers = containers
        self._room = room
        self._recording = recording
        self._plans = plans
        self._executor = executor
        self._sink = room.sink
        self._solvers = self._made()
        self._exporting = Exporting(room, executor, begun(room, plans[0], self.ref))
        self._gate = gate
        self._files: list[KeptFile] = []
        self._is_stopped = False
        self._ready: asyncio.Future[list[StageState]] = asyncio.get_running_loop().create_future()
        self._task = asyncio.create_task(self._run())

    @property
    def failed_at(self) -> Place | None:
        """Where in the Dockerfile the step stands that failed."""
        return next((s.failed_at for s in self._solvers if s.failed_at is not None), None)

    @property
    def ref(self) -> str:
        """The build's reference in the history."""
        return self._recording.record.ref

    async def _run(self) -> Built | None:
        try:
            built = await self._steps()
        except asyncio.CancelledError:
            self._recording.end(CANCELED)
            if self._is_stopped:
                raise Unavailable(
                    "the build was canceled because the engine is being stopped: build again when "
                    "it is back"
                ) from None
            raise
        except Exception as error:
            told = _told(error)
            failure = failure_of(told, self.failed_at)
            self._recording.end(ERROR, error=str(told), failure=failure)
            if told is error:
                raise
            raise told from error
        finally:
            self._ready.cancel()
            self._room.channel.close()
        image = built.image if built else ""
        self._recording.end(COMPLETED, image=image, files=self._files)
        return built

    async def _steps(self) -> Built | None:
        self._room.load_ahead()
        states = await self._solved(self._solvers)
        if self._room.options.verify:
            again = await self._solved(self._made())
            for first, second in zip(states, again, strict=True):
                await check_same(self._room, first, second)
        if not self._ready.done():
            self._ready.set_result(states)
        if self._gate is not None and not await self._gate:
            self._files = self._exporting.kept(self._results(states), stored=False)
            return None
        results = self._results(states)
        built = await self._exporting.run(results, self._solvers[0].reporting)
        self._files = self._exporting.kept(results, stored=bool(built.image))
        return built

    def _results(self, states: list[StageState]) -> list[Result]:
        return [_result(*pair) for pair in zip(self._solvers, states, strict=True)]

    def _made(self) -> list[Solver]:
        """A solver for each platform; their steps are counted together."""
        epoch = epoch_of(self._room.options.build_args)
        clock = timestamp if epoch is None else lambda: epoch_text(epoch)
        total, before = sum(plan.plan.steps() for plan in self._plans), 0
        found = []
        for plan in self._plans:
            label = plan.options.platform if len(self._plans) > 1 else ""
            vertices = Vertices(plan.plan, label, before, total, plan.options.contexts)
            found.append(Solver(plan, self._executor, self._sink, clock, vertices))
            before += plan.plan.steps()
        return found

    async def _solved(self, solvers: list[Solver]) -> list[StageState]:
        """All platforms side by side; the first failure ends the others."""
        tasks = [asyncio.ensure_future(solver.run()) for solver in solvers]
        try:
            return list(await asyncio.gather(*tasks))
        finally:
            for task in tasks:
                task.cancel()
            await asyncio.gather(*tasks, return_exceptions=True)

    async def solved(self) -> list[StageState]:
        """The target stage of each platform, before it is stored; raises what ended the build."""
        waited: set[asyncio.Future[Any]] = {self._ready, self._task}
        await asyncio.wait(waited, return_when=asyncio.FIRST_COMPLETED)
        if not self._ready.done() or self._ready.cancelled():
            await self._task
        return self._ready.result()

    async def events(self) -> AsyncIterator[Event]:
        """All events in order, to the last one."""
        async for burst in self.bursts():
            for event in burst:
                yield event

    async def bursts(self) -> AsyncIterator[list[Event]]:
        """The same, those of a moment at a time."""
        while events := await self._room.channel.get():
            yield events

    @property
    def has_told_all(self) -> bool:
        """Whether no burst comes after the last one."""
        return self._room.channel.closed

    async def built(self) -> Built:
        """The outcome; raises what ended the build: ``StepFailed``, other ``KetchError``, or
        ``Cancelled`` when the gate stayed closed, or somebody else has cancelled it."""
        try:
            built = await self._task
        except asyncio.CancelledError:
            asking = asyncio.current_task()
            if not self._task.cancelled() or (asking is not None and asking.cancelling()):
                raise
            raise Cancelled("the build was canceled") from None
        if built is None:
            raise Cancelled("the build's outcome was not wanted")
        return built

    async def stop(self) -> None:
        """Cancel it because the engine is being stopped, which its client is told."""
        self._is_stopped = True
        await self.cancel()

    async def cancel(self) -> None:
        """Kill what runs and wait until it is gone; a step that other builds wait for runs to its
        end before. Cancelled itself, it still waits: the build's directory goes after it."""
        if not self._task.done():
            self._room.channel.leave()
            self._task.cancel()
        cancelled = False
        while not self._task.done():
            try:
                await asyncio.wait({self._task})
            except asyncio.CancelledError:
                cancelled = True
        if not self._task.cancelled():
            self._task.exception()  # which whoever asks for the outcome is told
        if cancelled:
            raise asyncio.CancelledError


def _told(error: Exception) -> KetchError:
    """What ended a build, as every kind of client is told it: its answer has begun already."""
    if isinstance(error, KetchError):
        return error
    _log.error("a build ended unexpectedly: %s", error, exc_info=error)
    return KetchError(in_words(error))


def _result(solver: Solver, state: StageState) -> Result:
    config, parent = outcome_of(state)
    return Result(
        platform=state.image.platform,
        config=config,
        layers=tuple(state.layers),
        parent=parent,
        scanned=scanned(solver),
    )
