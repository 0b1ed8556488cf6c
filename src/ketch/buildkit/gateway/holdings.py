"""What a client's build has come to so far: outcomes of front ends, files, states, containers."""

from __future__ import annotations

import asyncio
import secrets
from typing import TYPE_CHECKING

from ketch.build.executor import Tree
from ketch.buildkit.gateway.containers import JobContainers
from ketch.buildkit.gateway.results import failed_result, names_of, result_of
from ketch.buildkit.gateway.states import State, States
from ketch.buildkit.graphs.results import config_of
from ketch.buildkit.graphs.states import GraphState, result_in
from ketch.errors import InvalidParameter
from ketch.llb.graph import graph_of
from ketch.llb.vertices import FailureSource

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ketch.build.request.options import ImageInput
    from ketch.build.solver import Built
    from ketch.buildkit.graphs.job import JobGraphs
    from ketch.buildkit.located import Located
    from ketch.buildkit.messages.gateway import Result
    from ketch.engine.builder.steps.container import Containers
    from ketch.llb.messages import Definition


class Target:
    """One front end's outcome: waits for the client to say whether it is wanted."""

    def __init__(self) -> None:
        self.id = secrets.token_hex(16)
        loop = asyncio.get_running_loop()
        self.wanted: asyncio.Future[bool] = loop.create_future()
        self.over = asyncio.Event()  # its steps, well or badly
        self.images: dict[str, ImageInput] = {}  # by platform
        self.failure: Located | None = None
        self.task: asyncio.Task[Built]

    def result(self, *, arrays: bool) -> Result:
        """What a client is told of it; ``arrays`` as in ``results``."""
        if self.failure is not None:
            return failed_result(self.id, arrays=arrays)
        return result_of(self.id, self.images, arrays=arrays)

    async def failed(self, error: Located) -> None:
        """A step failed; returns when the client is done with looking around there."""
        self.failure = error
        self.over.set()
        await self.wanted

    async def close(self) -> None:
        """End it, unless it is over."""
        if not self.wanted.done():
            self.wanted.set_result(False)
        self.task.cancel()
        await asyncio.gather(self.task, return_exceptions=True)


class Holdings:
    """Those of one job; they go with it."""

    def __init__(self, graphs: JobGraphs) -> None:
        self.targets: dict[str, Target] = {}
        self.states = States()
        self.containers = JobContainers(self.states)
        self.graphs = graphs
        self._names: dict[ImageInput | None, str] = {}

    def solved(self, target: Target, images: dict[str, ImageInput], containers: Containers) -> None:
        """A front end has come to these images."""
        for platform, name in names_of(target.id, images).items():
            self._add(images[platform], containers, name)
        target.images = images
        target.over.set()

    async def evaluate(self, ref: str) -> None:
        """Raises what a result's steps came to, ``InvalidParameter`` for an unknown one."""
        if ref in self.states:
            await self.states.get(ref).tree()
            return
        failure = self.target(ref).failure
        if failure is not None:
            raise failure

    async def state(self, ref: str) -> State:
        """What a reference names, to be looked into; raises as ``evaluate`` does."""
        if ref not in self.states:
            await self.evaluate(ref)
        return self.states.get(ref)

    def target(self, ref: str) -> Target:
        """Whose result a reference names; raises ``InvalidParameter``."""
        target = self.targets.get(ref.partition(":")[0])
        if target is None:
            raise InvalidParameter(f"the build has no result {ref!r:.100}")
        return target

    async def found(self, definition: Definition) -> str:
        """The name of what a client's own graph comes to, which runs when it is first wanted.

        Raises what is wrong with the graph, the failure of a result that is in it.
        """
        graph = graph_of(definition)
        for vertex in graph.vertices:
            if isinstance(vertex.work, FailureSource):
                await self.evaluate(vertex.work.name)
        image = result_in(graph)
        if image in self._names:
            return self._names[image]
        return self.states.add(GraphState(await self.graphs.build(), graph, self.states))

    def _add(self, image: ImageInput, containers: Containers, name: str = "") -> str:
        state = State(containers, Tree("layers", image.layers))
        self._names[image] = self.states.add(state, name)
        return self._names[image]

    def untouched(self, refs: Mapping[str, str], result: Result) -> Target | None:
        """The front end whose outcome a returned result is, if that was not made another one."""
        targets = {self.targets.get(ref.partition(":")[0]) for ref in refs.values()}
        target = targets.pop() if len(targets) == 1 else None
        if target is None:
            return None
        configs = {platform: config_of(result, platform) for platform in refs}
        told = {image.config for image in target.images.values()}
        same = all(not config or config in told for config in configs.values())
        return target if same and len(refs) == max(len(target.images), 1) else None

    async def close(self) -> None:
        """Kill what runs, throw everything away."""
        await self.containers.close()
        for target in self.targets.values():
            await target.close()
        await self.graphs.close()
