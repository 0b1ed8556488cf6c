"""What a client's build has come to so far: outcomes of front ends, files, states, containers."""

from __future__ import annotations

import asyncio
import secrets
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ketch.build.executor import Tree
from ketch.buildkit.containers import JobContainers
from ketch.buildkit.graphs import files_of
from ketch.buildkit.inputs import failure_in, result_in
from ketch.buildkit.results import failed_result, names_of, result_of
from ketch.buildkit.states import State, States
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.build.request.options import ImageInput
    from ketch.build.solver import Built
    from ketch.buildkit.gateway_messages import Result
    from ketch.buildkit.graph_messages import Definition
    from ketch.buildkit.located import Located
    from ketch.buildkit.sessions import Session
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.channel import Channel
    from ketch.engine.builder.steps.container import Containers


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

    def __init__(self, builder: Builder) -> None:
        self.targets: dict[str, Target] = {}
        self.states = States()
        self.containers = JobContainers(self.states)
        self._builder = builder
        self._names: dict[ImageInput | None, str] = {}
        self._stack = AsyncExitStack()

    def solved(self, target: Target, images: dict[str, ImageInput], containers: Containers) -> None:
        """A front end has come to these images."""
        for platform, name in names_of(target.id, images).items():
            self._add(images[platform], containers, name)
        target.images = images
        target.over.set()

    def evaluate(self, ref: str) -> None:
        """Raises what a result's steps came to, ``InvalidParameter`` for an unknown one."""
        if ref not in self.states:
            failure = self.target(ref).failure
            if failure is not None:
                raise failure

    def state(self, ref: str) -> State:
        """What a reference names, to be looked into; raises as ``evaluate`` does."""
        self.evaluate(ref)
        return self.states.get(ref)

    def target(self, ref: str) -> Target:
        """Whose result a reference names; raises ``InvalidParameter``."""
        target = self.targets.get(ref.partition(":")[0])
        if target is None:
            raise InvalidParameter(f"the build has no result {ref!r:.100}")
        return target

    async def found(
        self, definition: Definition, session: Session, channel: Channel, allow: Sequence[str]
    ) -> str:
        """The name of what a client's own graph comes to: a result, or files that are fetched.

        Raises what that raises, the failure of a result that is one among it.
        """
        failed = failure_in(definition)
        if failed:
            self.evaluate(failed)
            return failed
        image = result_in(definition)
        if image in self._names:
            return self._names[image]
        files = files_of(definition) if image is None else None
        standing = self._builder.standing(session, channel, allow)
        containers = await self._stack.enter_async_context(standing)
        if files is not None:
            tree = await containers.looking.fetch(files.url, files.name)
            return self.states.add(State(containers, tree))
        assert image is not None
        containers.hold(image.layers)  # of another build
        return self._add(image, containers)

    def _add(self, image: ImageInput, containers: Containers, name: str = "") -> str:
        state = State(containers, Tree("layers", image.layers))
        self._names[image] = self.states.add(state, name)
        return self._names[image]

    async def close(self) -> None:
        """Kill what runs, throw everything away."""
        await self.containers.close()
        for target in self.targets.values():
            await target.close()
        await self._stack.aclose()
