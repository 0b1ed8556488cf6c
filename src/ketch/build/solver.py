"""The solver: runs a plan's stages one after another, step by step.

The output is the classic builder's (``Step 1/4 : FROM busybox``, `` ---> 0123456789ab``…), which
clients show as it is.
"""

from __future__ import annotations

import shlex
from collections.abc import Awaitable, Callable

import msgspec

from ketch.build.ast import (
    Arg,
    Cmd,
    Copy,
    Dockerfile,
    Entrypoint,
    Env,
    Expose,
    From,
    Healthcheck,
    Instruction,
    Label,
    Maintainer,
    Onbuild,
    Run,
    Shell,
    Stage,
    Stopsignal,
    User,
    Volume,
    Workdir,
)
from ketch.build.config import timestamp
from ketch.build.executor import BaseImage, Emit, Executor, Tree
from ketch.build.failures import StepFailed
from ketch.build.options import BuildOptions, BuildOutput
from ketch.build.parser import parse, parse_trigger
from ketch.build.plan import Plan, PlannedStage, find_stage, make_plan
from ketch.build.refusals import check_options, check_syntax
from ketch.build.scope import GlobalScope
from ketch.build.source import LogicalLine, Position
from ketch.build.state import BuildContext, StageState
from ketch.build.steps_config import (
    do_arg,
    do_cmd,
    do_entrypoint,
    do_env,
    do_expose,
    do_healthcheck,
    do_label,
    do_maintainer,
    do_onbuild,
    do_shell,
    do_stopsignal,
    do_user,
    do_volume,
)
from ketch.build.steps_copy import comment_warning, do_copy
from ketch.build.steps_run import do_run, do_workdir
from ketch.oci.image import ImageConfig, encode

SCRATCH = "scratch"


class Prepared(msgspec.Struct, frozen=True):
    """A build that is known to be well formed."""

    dockerfile: Dockerfile
    plan: Plan
    scope: GlobalScope
    options: BuildOptions


class Built(msgspec.Struct, frozen=True):
    """The outcome: the image's ID and its familiar names."""

    image: str
    tags: tuple[str, ...]


def prepare(data: bytes, options: BuildOptions, platform: dict[str, str]) -> Prepared:
    """Parse and plan; ``platform`` maps TARGETPLATFORM, TARGETARCH… to their values.

    Raises ``DockerfileError``, ``InvalidParameter`` or ``Unsupported``: all that can be known
    before the first step.
    """
    check_options(options)
    dockerfile = parse(data, options.dockerfile)
    check_syntax(dockerfile)
    scope = GlobalScope(options.build_args, platform, dockerfile.escape)
    for arg in dockerfile.global_args:
        scope.declare(arg)
    plan = make_plan(dockerfile, scope, options.target)
    if options.labels:
        plan = _with_labels(plan, options.labels)
    return Prepared(dockerfile, plan, scope, options)


async def solve(
    prepared: Prepared, executor: Executor, emit: Emit, clock: Callable[[], str] = timestamp
) -> Built:
    """Run the plan; raises ``StepFailed`` and what the executor raises. Closes nothing."""
    options = prepared.options
    shown = _quiet(emit) if options.quiet else emit
    shared = BuildContext(executor, options, prepared.scope, shown, clock)
    return await _Solver(prepared, shared, emit).run()


class _Solver:
    """One build under way."""

    def __init__(self, prepared: Prepared, shared: BuildContext, emit: Emit) -> None:
        self.prepared = prepared
        self.shared = shared
        self.emit = emit
        self.done: dict[int, StageState] = {}
        self.step = 0

    async def run(self) -> Built:
        for planned in self.prepared.plan.stages:
            state = await self._stage(planned)
            if not state.image_id:
                raise StepFailed("No image was generated. Is your Dockerfile empty?")
            if not self.shared.options.quiet:
                self.emit(BuildOutput(aux=state.image_id))
        return await self._finish(state)

    async def _finish(self, state: StageState) -> Built:
        unused = self.shared.scope.unused()
        if unused:
            names = " ".join(unused)
            self.shared.warn(f"One or more build-args [{names}] were not consumed")
        image = await self._commit(state)
        tags = tuple([await self._tag(image, tag) for tag in self.shared.options.tags])
        if self.shared.options.quiet:
            self.emit(BuildOutput(stream=f"{image}\n"))
        self.shared.say(f"Successfully built {_short(image)}\n")
        for tag in tags:
            self.shared.say(f"Successfully tagged {tag}\n")
        return Built(image, tags)

    async def _commit(self, state: StageState) -> str:
        """Store the image; a stage that is only a FROM stays its base."""
        same = state.image_id == state.base.id
        config = state.base.config if same else encode(state.image)
        parent = "" if same else state.base.id
        return await self.shared.executor.commit(config, tuple(state.layers), parent)

    async def _tag(self, image: str, tag: str) -> str:
        return await self.shared.executor.tag(image, tag)

    async def _stage(self, planned: PlannedStage) -> StageState:
        self._announce(planned.stage.base)
        state = StageState(self.shared, await self._base(planned))
        await self._triggers(state, planned.stage.index)
        self._show(state)
        for step in planned.stage.steps:
            self._announce(step)
            try:
                await self._dispatch(state, step, planned.stage.index)
            except StepFailed:
                await self._keep(state)
                raise
            self._show(state)
        self.done[planned.stage.index] = state
        return state

    async def _keep(self, state: StageState) -> None:
        """Store what there was before a failed step, for people to look into."""
        if state.image_id and state.image_id != state.base.id:
            await self._commit(state)

    async def _base(self, planned: PlannedStage) -> BaseImage:
        if planned.base_stage is not None:
            parent = self.done[planned.base_stage]
            config = encode(parent.image) if parent.image_id != parent.base.id else b""
            config = config or parent.base.config
            return BaseImage(parent.image_id, config, tuple(parent.layers))
        if planned.image == SCRATCH:
            return self._scratch()
        return await self._image(planned.image, planned.platform)

    async def _image(self, reference: str, platform: str) -> BaseImage:
        options = self.shared.options
        return await self.shared.executor.base(
            reference,
            platform or options.platform,
            pull=options.pull,
            emit=self.shared.emit,
        )

    def _scratch(self) -> BaseImage:
        platform = self.shared.scope.platform
        config = ImageConfig(
            architecture=platform.get("TARGETARCH", ""),
            os=platform.get("TARGETOS", ""),
            variant=platform.get("TARGETVARIANT", ""),
        )
        return BaseImage("", encode(config), ())

    async def _triggers(self, state: StageState, index: int) -> None:
        """Run what ONBUILD left in the base image."""
        triggers = state.run.on_build or []
        state.change(on_build=None)
        if not triggers:
            return
        plural = "" if len(triggers) == 1 else "s"
        self.shared.say(f"# Executing {len(triggers)} build trigger{plural}\n")
        for text in triggers:
            await self._dispatch(state, parse_trigger(text), index)

    async def _dispatch(self, state: StageState, step: Instruction, index: int) -> None:
        if isinstance(step, Copy):
            await do_copy(state, step, await self._tree(step, index))
            return
        if step.comment is not None:
            self._warn_comment(step)
        await _HANDLERS[type(step)](state, step)

    async def _tree(self, step: Copy, index: int) -> Tree:
        """Where a COPY takes its files from."""
        if not step.from_:
            return Tree("context")
        stage = find_stage(self.prepared.dockerfile, step.from_, index, numbers=True)
        if stage is not None and stage not in self.done:
            raise step.error(f"the stage {step.from_} was not built: only a trigger names it")
        if stage is not None:
            return Tree("layers", tuple(self.done[stage].layers))
        if step.from_ == SCRATCH:
            raise step.error(f"invalid from flag value {SCRATCH}: '{SCRATCH}' is a reserved name")
        image = await self._image(step.from_, "")
        return Tree("layers", image.layers)

    def _announce(self, step: Instruction) -> None:
        self.step += 1
        self.shared.say(f"Step {self.step}/{self.prepared.plan.steps()} : {step.text}")
        self.shared.say("\n")
        if isinstance(step, From) and step.comment is not None:
            self._warn_comment(step)

    def _warn_comment(self, step: Instruction) -> None:
        if step.comment is not None:
            self.shared.warn(comment_warning(step.comment.range.start.line, step.comment.text))

    def _show(self, state: StageState) -> None:
        self.shared.say(f" ---> {_short(state.image_id)}\n")


def _short(image: str) -> str:
    return image.removeprefix("sha256:")[:12]


def _quiet(emit: Emit) -> Emit:
    """Lets only errors pass."""

    def filtered(output: BuildOutput) -> None:
        if output.error:
            emit(output)

    return filtered


def _with_labels(plan: Plan, labels: dict[str, str]) -> Plan:
    """Add ``--label`` as a last step of the target, values not to be expanded."""
    pairs = tuple((shlex.quote(key), shlex.quote(value)) for key, value in sorted(labels.items()))
    text = "LABEL " + " ".join(f"{key}={value}" for key, value in pairs)
    target = plan.target
    source = target.stage.base.line.source
    line = LogicalLine(text, ((0, Position(len(source.lines) + 1, 1)),), source)
    steps = (*target.stage.steps, Label(line=line, pairs=pairs))
    stage = Stage(target.stage.index, target.stage.base, steps)
    return Plan((*plan.stages[:-1], msgspec.structs.replace(target, stage=stage)))


_HANDLERS: dict[type[Instruction], Callable[..., Awaitable[None]]] = {
    Arg: do_arg,
    Cmd: do_cmd,
    Entrypoint: do_entrypoint,
    Env: do_env,
    Expose: do_expose,
    Healthcheck: do_healthcheck,
    Label: do_label,
    Maintainer: do_maintainer,
    Onbuild: do_onbuild,
    Run: do_run,
    Shell: do_shell,
    Stopsignal: do_stopsignal,
    User: do_user,
    Volume: do_volume,
    Workdir: do_workdir,
}
