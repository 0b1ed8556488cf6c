"""What a build wants from elsewhere, and of the client, is begun before its steps come to it.

URLs and repositories of ADD and the files of contexts need nothing of the layers below: they are
fetched, and their checksums computed, while earlier steps run. Which they are is found by going
through a stage with an executor that does nothing: an instruction's words depend on ARG, ENV and
the base image, never on what a RUN writes. While all steps are in the cache nobody has to look.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from ketch.build.dockerfile.ast import Add, Copy, Instruction, Run
from ketch.build.dockerfile.plan import PlannedStage, sources_of
from ketch.build.dry_executor import DryExecutor, silent
from ketch.build.executor import Executor, Tree
from ketch.build.failures import StepFailed
from ketch.build.progress.events import Vertex
from ketch.build.progress.vertices import Vertices
from ketch.build.steps.copy import copy_failed, is_remote
from ketch.build.steps.dispatch import dispatch
from ketch.build.steps.needs import Beginnings, Needs
from ketch.build.steps.run import before
from ketch.build.steps.state import StageState
from ketch.errors import KetchError

Failed = Callable[[Instruction, KetchError], None]
_CONTEXT = Tree("context")


async def begin_ahead(
    state: StageState, planned: PlannedStage, now: int, vertices: Vertices, failed: Failed
) -> None:
    """Begin what the steps of a stage need that come after the one at ``now`` (from 1), which is
    not in the cache; ``state`` is the stage's before that one.

    ``failed`` is told what can't be had: the build would fail when it came to that step.
    """
    places = set(_places(planned, now))
    if not places:
        return
    executor = _Looking(state.shared.executor)
    dry = msgspec.structs.replace(
        state.shared, executor=executor, sink=silent, needs=Needs(executor)
    )
    looking = state.fork(dry)
    for place in range(now + 1, max(places) + 1):
        step = planned.stage.steps[place - 1]
        looking.shared = dry
        if place in places and isinstance(step, Copy):
            vertex = vertices.source(planned, place, looking.variables())
            needs = Beginnings(
                state.shared.needs,
                state.shared.sink,
                vertex,
                partial(copy_failed, step, _CONTEXT),
                partial(_fails, state, vertex, partial(failed, step)),
            )
            looking.shared = msgspec.structs.replace(dry, needs=needs)
        trees = {name: Tree("layers") for name in sources_of(step)}
        try:
            await dispatch(looking, step, {"": _CONTEXT, **trees})
        except KetchError:
            return  # the build ends there


def _places(planned: PlannedStage, now: int) -> list[int]:
    """The steps after ``now`` that fetch, and those that come to their files only after a RUN."""
    ran = False
    found = []
    for place, step in enumerate(planned.stage.steps[now - 1 :], now):
        ran = ran or isinstance(step, Run)
        wants = isinstance(step, Copy) and not step.from_ and (ran or _may_fetch(step))
        if wants and place > now:
            found.append(place)
    return found


def _may_fetch(step: Copy) -> bool:
    return isinstance(step, Add) and any(is_remote(word) or "$" in word for word in step.sources)


def _fails(
    state: StageState, vertex: Vertex, failed: Callable[[KetchError], None], error: KetchError
) -> None:
    """Who wants to stand where the build failed, stands where the stage has come to."""
    if isinstance(error, StepFailed):
        error.run = error.run or before(state)
        error.vertex = error.vertex or vertex.digest
    failed(error)


class _Looking(DryExecutor):
    """It does nothing, but knows what is in the client's directories."""

    def __init__(self, executor: Executor) -> None:
        super().__init__({})
        self._executor = executor

    async def exists(self, tree: Tree, path: str) -> bool:
        """What a lone ``#`` means depends on it."""
        return await self._executor.exists(tree, path)
