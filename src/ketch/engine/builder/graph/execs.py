"""Commands of a graph: in a container as a Dockerfile's RUN, with outputs by mount."""

from __future__ import annotations

import asyncio
from functools import partial
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.executor import RunStep, StepMount, Tree
from ketch.build.request.options import BuildLimits
from ketch.build.steps.image_config import PATH
from ketch.build.steps.run import failure
from ketch.engine.builder.graph.trees import EMPTY
from ketch.engine.builder.steps.mounts import offered
from ketch.errors import Forbidden
from ketch.llb import vertices as llb
from ketch.oci.digest import of

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from ketch.build.executor import RunOutcome
    from ketch.build.progress.events import Report
    from ketch.engine.builder.graph.trees import GraphTrees
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.executor import BuildExecutor
    from ketch.engine.builder.steps.run import StepRunner


class GraphExecs:
    """Those of one build."""

    def __init__(
        self, room: BuildRoom, executor: BuildExecutor, runner: StepRunner, trees: GraphTrees
    ) -> None:
        self._room = room
        self._executor = executor
        self._runner = runner
        self._trees = trees

    async def run(
        self, vertex: llb.Vertex, inputs: Sequence[Tree], report: Report
    ) -> tuple[dict[int, Tree], bool]:
        """The outputs by number, and whether all were there; raises ``StepFailed``,
        ``Forbidden`` for what the client did not allow, ``InvalidParameter``."""
        command = vertex.work
        assert isinstance(command, llb.Exec)
        self._check(command)
        step = await self._step(vertex, command, inputs, report)
        self._runner.validate(step)
        self._executor.mounted(step.mounts)
        facts = await self._facts(command, step)
        running = _Once(lambda: self._execute(step, report))
        try:
            found = await asyncio.gather(
                *[
                    self._trees.layer(
                        self._trees.key("exec", facts, number),
                        partial(running.layer, mount.target),
                        report,
                        fresh=vertex.fresh,
                    )
                    for number, mount in command.outputs.items()
                ]
            )
        finally:
            await running.close()
        below = {mount.target: mount.tree.layers for mount in step.mounts if mount.tree is not None}
        below["/"] = step.layers
        outputs = {
            number: Tree("layers", (*below[mount.target], *([layer] if layer else [])))
            for (number, mount), (layer, _) in zip(command.outputs.items(), found, strict=True)
        }
        return outputs, all(hit for _, hit in found)

    def _check(self, command: llb.Exec) -> None:
        """A graph may be somebody else's: what weakens the sandbox, the one who builds must
        allow."""
        wanted = {
            "security.insecure": command.insecure,
            "network.host": command.network == "host",
        }
        for entitlement, is_wanted in wanted.items():
            if is_wanted and entitlement not in self._room.options.allow:
                raise Forbidden(f"{entitlement} is not allowed: build with --allow {entitlement}")

    async def _step(
        self, vertex: llb.Vertex, command: llb.Exec, inputs: Sequence[Tree], report: Report
    ) -> RunStep:
        def tree(mount: llb.ExecMount) -> Tree:
            return EMPTY if mount.input == llb.EMPTY else inputs[mount.input]

        mounts = [await self._mount(mount, tree(mount), report) for mount in command.mounts]
        mounts += [
            StepMount(type="secret", target="", id=id, env=name, required=not optional)
            for id, name, optional in command.secrets
        ]
        there = [mount for mount in mounts if await offered(self._room.offers, mount)]
        env = command.env
        if not any(word.startswith("PATH=") for word in env):
            env = (*env, f"PATH={PATH}")
        return RunStep(
            layers=await self._trees.layers(tree(command.root), report),
            argv=command.args,
            env=(*env, *command.proxies),
            user=command.user,
            working_dir=command.cwd,
            network=command.network,
            limits=BuildLimits(ulimits=command.ulimits, cgroup_parent=command.cgroup_parent),
            extra_hosts=command.hosts,
            hostname=command.hostname,
            insecure=command.insecure,
            platform=vertex.platform,
            mounts=tuple(there),
            read_only=not command.root.writable,
            exit_codes=command.exit_codes,
        )

    async def _mount(self, mount: llb.ExecMount, tree: Tree, report: Report) -> StepMount:
        made = StepMount(
            type=mount.type,
            target=mount.target,
            source=mount.source,
            writable=mount.writable,
            id=mount.id,
            sharing=mount.sharing,
            required=mount.required,
            mode=mount.mode,
            uid=mount.uid,
            gid=mount.gid,
            size=mount.size,
            number=1,  # the variable of an agent is the client's to set
            output=mount.output != llb.NO_OUTPUT,
        )
        if mount.type == "cache" and mount.input != llb.EMPTY:
            base = of(f"{await self._trees.content(tree, mount.source)} {mount.source}".encode())
            shown = await self._trees.shown(tree)
            return msgspec.structs.replace(made, tree=shown, base=base)
        if mount.type != "bind":
            return made
        if made.output:
            tree = Tree("layers", await self._trees.layers(tree, report))
        return msgspec.structs.replace(made, tree=tree)

    async def _facts(self, command: llb.Exec, step: RunStep) -> list[object]:
        """All that can make a difference for what the command leaves."""
        plain = msgspec.structs.replace(command, proxies=(), mounts=())
        mounts: list[object] = []
        for mount in command.mounts:
            shown = next((one for one in step.mounts if one.target == mount.target), None)
            content = ""
            if mount.type == "bind" and shown is not None and shown.tree is not None:
                content = await self._trees.content(shown.tree, mount.source)
            base = shown.base if shown is not None else ""
            fixed = msgspec.structs.replace(mount, input=llb.EMPTY)
            mounts.append((fixed, content, base))
        root = msgspec.structs.replace(command.root, input=llb.EMPTY)
        return [step.layers, msgspec.structs.replace(plain, root=root), mounts, step.platform]

    async def _execute(self, step: RunStep, report: Report) -> RunOutcome:
        shown = [
            msgspec.structs.replace(mount, tree=await self._trees.shown(mount.tree))
            if mount.tree is not None
            else mount
            for mount in step.mounts
        ]
        step = msgspec.structs.replace(step, mounts=tuple(shown))
        outcome = await self._executor.run(step, lambda _: None, report)
        if not outcome.kept:
            return outcome
        failed = failure(step, outcome)
        failed.vertex = report.vertex.digest
        raise failed


class _Once:
    """A run that several outputs wait for: it begins with the first that is not there."""

    def __init__(self, run: Callable[[], Coroutine[Any, Any, RunOutcome]]) -> None:
        self._run = run
        self._task: asyncio.Task[RunOutcome] | None = None

    async def layer(self, target: str) -> str:
        """What the run left at a mount point."""
        if self._task is None:
            self._task = asyncio.ensure_future(self._run())
        outcome = await asyncio.shield(self._task)
        return outcome.layer if target == "/" else outcome.outputs.get(target, "")

    async def close(self) -> None:
        """Nobody waits any more."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
