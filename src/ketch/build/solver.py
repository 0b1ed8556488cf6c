"""The solver: runs a plan's stages, each as soon as what it stands on is there.

Stages are tasks. One that takes files from another, or continues it, waits for that one; all others
run at the same time. Within a stage one step follows the other, since each stands on the layers
before it. The first failure ends the build: what runs is cancelled and leaves nothing.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from functools import partial
from typing import Any

import msgspec

from ketch.build.ahead import begin_ahead
from ketch.build.dockerfile.ast import Instruction
from ketch.build.dockerfile.parser import parse_trigger
from ketch.build.dockerfile.plan import PlannedStage, find_stage, sources_of
from ketch.build.executor import BaseImage, Executor, Tree
from ketch.build.failures import Place, StepFailed, vertex_error
from ketch.build.lint.telling import Teller
from ketch.build.prepared import Prepared
from ketch.build.progress.events import Report, Sink, StageDone
from ketch.build.progress.vertices import Vertices
from ketch.build.steps.copy import warn_comment
from ketch.build.steps.dispatch import dispatch
from ketch.build.steps.image_config import timestamp, with_path
from ketch.build.steps.mounts import Trees
from ketch.build.steps.needs import Needs
from ketch.build.steps.origins import Origins
from ketch.build.steps.run import before
from ketch.build.steps.state import BuildContext, StageState
from ketch.errors import KetchError
from ketch.oci import reference as references
from ketch.oci.image import encode


class Built(msgspec.Struct, frozen=True):
    """The outcome: the image's ID ("" when none was stored) and its familiar names.

    ``response`` is what BuildKit's exporters say of it.
    """

    image: str
    tags: tuple[str, ...]
    response: dict[str, str] = {}


async def solve(
    prepared: Prepared, executor: Executor, sink: Sink, clock: Callable[[], str] = timestamp
) -> Built:
    """Run the plan; raises ``StepFailed`` and what the executor raises. Closes nothing."""
    solver = Solver(prepared, executor, sink, clock)
    return await solver.export(await solver.run())


class Solver:
    """One build under way: ``run`` makes the target stage, ``export`` stores and names it.

    With ``ahead``, what steps want from elsewhere begins before they are come to, and what can't be
    had fails the build at once.
    """

    def __init__(
        self,
        prepared: Prepared,
        executor: Executor,
        sink: Sink,
        clock: Callable[[], str] = timestamp,
        vertices: Vertices | None = None,
        ahead: bool = True,
    ) -> None:
        self.prepared = prepared
        needs = Needs(executor)
        shared = BuildContext(executor, needs, prepared.options, prepared.scope, sink, clock)
        self.shared = shared
        self.vertices = vertices or Vertices(prepared.plan, contexts=prepared.options.contexts)
        self.origins = Origins(shared, self.vertices)
        self.teller = Teller(prepared)
        self.stages: dict[int, asyncio.Task[StageState]] = {}
        self.failed_at: Place | None = None
        self._ahead = ahead
        self._loading: list[asyncio.Task[None]] = []
        self._lacking: asyncio.Future[None] = asyncio.get_running_loop().create_future()

    async def run(self) -> StageState:
        """All stages that are needed; the target's outcome. What still runs at the end of a
        failure is cancelled and waited for."""
        for planned in self.prepared.plan.stages:
            self.stages[planned.stage.index] = asyncio.create_task(self._stage(planned))
        if self._ahead:
            self._load_images()
        needed = list(self.stages.values())
        try:
            await self._ended(needed)
            for task in needed:
                if task.done():
                    task.result()
            target = self.prepared.plan.target.stage.index
            return self.stages[target].result()
        finally:
            working: list[asyncio.Task[Any]] = [*self.stages.values(), *self._loading]
            for task in working:
                task.cancel()
            await asyncio.gather(*working, return_exceptions=True)
            await self.shared.needs.close()
            await self.origins.close()

    async def _ended(self, stages: list[asyncio.Task[StageState]]) -> None:
        """All stages did, or one failed; raises when something that a step needs can't be had."""
        ended = asyncio.ensure_future(asyncio.wait(stages, return_when=asyncio.FIRST_EXCEPTION))
        first: set[asyncio.Future[Any]] = {ended, self._lacking}
        try:
            await asyncio.wait(first, return_when=asyncio.FIRST_COMPLETED)
            if self._lacking.done():
                self._lacking.result()
        finally:
            ended.cancel()

    def _load_images(self) -> None:
        """Images and contexts that steps take files from, before the steps come to them."""
        for planned in self.prepared.plan.stages:
            for step in planned.stage.steps:
                for name in sources_of(step):
                    if self._stage_named(name, planned.stage.index) is None:
                        self._loading.append(asyncio.create_task(self._load(step, name)))

    async def _load(self, step: Instruction, name: str) -> None:
        try:
            await self.origins.tree(step, name)
        except KetchError as error:
            self._lacks(step, error)

    def _lacks(self, step: Instruction, error: KetchError) -> None:
        """What a step needs can't be had: the build need not get there to fail, unless somebody
        wants to stand there."""
        if self.shared.options.stepwise:
            return
        self._failed(step, error)
        if not self._lacking.done():
            self._lacking.set_exception(error)

    async def export(self, state: StageState) -> Built:
        """Store the image under its names."""
        report = self.reporting("exporting to image")
        try:
            tags = self.shared.options.tags
            image = await self._commit(state, tags)
        except BaseException as error:
            report.end(error=vertex_error(error))
            raise
        report.end(image)
        return Built(image, familiar(tags))

    def reporting(self, title: str) -> Report:
        """The vertex of something that is done with the outcome."""
        report = Report(self.shared.sink, self.vertices.export(title))
        unused = self.shared.scope.unused()
        if unused:
            names = " ".join(unused)
            report.warn(f"One or more build-args [{names}] were not consumed")
        known = {self.vertices.stage_name(planned).lower() for planned in self.prepared.plan.all}
        for name in self.shared.options.no_cache_stages:
            if name.lower() not in known:
                report.warn(f"--no-cache-filter {name}: there is no stage of that name")
        return report

    async def _commit(self, state: StageState, tags: tuple[str, ...] = ()) -> str:
        """Store the image."""
        config, parent = outcome_of(state)
        return await self.shared.executor.commit(config, tuple(state.layers), parent, tags)

    # stages

    async def _stage(self, planned: PlannedStage) -> StageState:
        state = await self._from(planned)
        skipped = {name.lower() for name in self.shared.options.no_cache_stages}
        state.reuse = state.reuse and self.vertices.stage_name(planned).lower() not in skipped
        looked: list[int] = []  # where it was looked ahead
        for place, step in enumerate(planned.stage.steps, 1):
            try:
                trees = await self._trees(step, planned.stage.index)
            except BaseException as error:
                self._failed(step, error)
                raise
            vertex = self.vertices.step(planned, place, state.variables())
            state.report = Report(self.shared.sink, vertex)
            if self._ahead and not looked:
                state.on_miss = partial(self._look_ahead, looked, state, planned, place)
            try:
                await dispatch(state, step, trees)
            except BaseException as error:
                if isinstance(error, StepFailed):
                    await self._keep(state)
                    error.image = error.image or state.image_id
                    error.run = error.run or before(state)
                    error.vertex = error.vertex or vertex.digest
                self._failed(step, error)
                state.report.end(error=vertex_error(error))
                raise
            state.report.end(state.image_id)
        if not state.image_id and planned is self.prepared.plan.target:
            raise StepFailed("No image was generated. Is your Dockerfile empty?")
        last = self.vertices.last(planned)
        self.shared.sink(StageDone(state.image_id, last))
        return state

    async def _look_ahead(
        self, looked: list[int], state: StageState, planned: PlannedStage, place: int
    ) -> None:
        """The first step of a stage that is not in the cache takes its time."""
        looked.append(place)
        await begin_ahead(state, planned, place, self.vertices, self._lacks)

    def _need(self, index: int) -> None:
        """A stage that only a trigger names begins, with all that it stands on."""
        if index in self.stages:
            return
        planned = self.prepared.plan.all[index]
        if planned.error is not None:
            raise planned.error
        for other in planned.needs():
            self._need(other)
        self.vertices.add(planned)
        self.stages[index] = asyncio.create_task(self._stage(planned))

    async def _from(self, planned: PlannedStage) -> StageState:
        """The stage's base, with what its ONBUILD says already done."""
        if planned.base_stage is not None:
            await self._done(planned.base_stage)
        report = Report(self.shared.sink, self.vertices.step(planned, 0))
        try:
            warn_comment(report, planned.stage.base)
            state = StageState(self.shared, await self._base(planned, report), report)
            state.change(env=with_path(state.run))
            self._inherit(state, planned)
            self._check_platform(state, planned)
            await self._triggers(state, planned.stage.index)
            self.teller.check_variables(planned.stage, state.known(), report)
        except BaseException as error:
            self._failed(planned.stage.base, error)
            report.end(error=vertex_error(error))
            raise
        report.end(state.image_id)
        return state

    def _failed(self, step: Instruction, error: BaseException) -> None:
        """Remember where the build failed: the first one counts, others are its consequences."""
        if self.failed_at is None and isinstance(error, KetchError):
            self.failed_at = Place(step.line.source, step.whole)

    async def _done(self, index: int) -> StageState:
        """An earlier stage at its end; raises what it raised."""
        task = self.stages[index]
        await asyncio.wait({task})
        return task.result()

    def _check_platform(self, state: StageState, planned: PlannedStage) -> None:
        if planned.base_stage is None and state.base.id:
            target = self.shared.scope.platform.get("TARGETPLATFORM", "")
            wanted = planned.platform or target
            self.teller.check_platform(
                planned.stage.base, state.image.platform, wanted, state.report
            )

    def _inherit(self, state: StageState, planned: PlannedStage) -> None:
        """A stage that continues another one knows its arguments."""
        if planned.base_stage is not None:
            parent = self.stages[planned.base_stage].result()
            state.scope.inherit(parent.scope, state.env())

    async def _keep(self, state: StageState) -> None:
        """Store what there was before a failed step, for people to look into."""
        if state.image_id and state.image_id != state.base.id:
            await self._commit(state)

    async def _base(self, planned: PlannedStage, report: Report) -> BaseImage:
        if planned.base_stage is not None:
            parent = await self._done(planned.base_stage)
            config = encode(parent.image) if parent.image_id != parent.base.id else b""
            config = config or parent.base.config
            return BaseImage(parent.image_id, config, tuple(parent.layers))
        return await self.origins.base(planned, report)

    async def _triggers(self, state: StageState, index: int) -> None:
        """Run what ONBUILD left in the base image."""
        triggers = state.run.on_build or []
        state.change(on_build=None)
        if not triggers:
            return
        plural = "" if len(triggers) == 1 else "s"
        state.report.note(f"# Executing {len(triggers)} build trigger{plural}\n")
        for text in triggers:
            step = parse_trigger(text)
            await dispatch(state, step, await self._trees(step, index))

    # trees

    async def _trees(self, step: Instruction, index: int) -> Trees:
        """What a step may take files from, by name, as soon as it is there; "" is the context."""
        found = {name: await self._tree(step, name, index) for name in sources_of(step)}
        return {"": Tree("context"), **found}

    async def _tree(self, step: Instruction, name: str, index: int) -> Tree:
        stage = self._stage_named(name, index)
        if stage is not None:
            self._need(stage)
            return Tree("layers", tuple((await self._done(stage)).layers))
        return await self.origins.tree(step, name)

    def _stage_named(self, name: str, index: int) -> int | None:
        return find_stage(self.prepared.dockerfile, name, index, numbers=True)


def familiar(tags: tuple[str, ...]) -> tuple[str, ...]:
    """Names as people are told them."""
    return tuple(references.parse(tag).tagged().familiar for tag in tags)


def outcome_of(state: StageState) -> tuple[bytes, str]:
    """Configuration and parent of a stage's image; one that is only a FROM stays its base."""
    if state.image_id == state.base.id:
        return state.base.config, ""
    return encode(state.image), state.base.id
