"""What a build wants from elsewhere is begun before its steps come to it.

The URLs and repositories of ADD need nothing of the layers below: they are fetched while earlier
steps run. Which they are is found by going through a stage with an executor that does nothing: an
instruction's words depend on ARG, ENV and the base image, never on what a RUN writes.
"""

from __future__ import annotations

from collections.abc import Callable
from functools import partial

import msgspec

from ketch.build.dockerfile.ast import Add, Instruction
from ketch.build.dockerfile.plan import PlannedStage, sources_of
from ketch.build.dry_executor import DryExecutor, silent
from ketch.build.executor import Tree
from ketch.build.failures import StepFailed
from ketch.build.progress.vertices import Vertices
from ketch.build.steps.copy import copy_failed, is_remote
from ketch.build.steps.dispatch import dispatch
from ketch.build.steps.fetches import Beginnings, Fetches
from ketch.build.steps.state import StageState
from ketch.errors import KetchError

Failed = Callable[[Instruction, KetchError], None]


async def begin_fetches(
    state: StageState, planned: PlannedStage, vertices: Vertices, failed: Failed
) -> None:
    """Begin what the steps of a stage will fetch; ``state`` is the stage's at its first step.

    ``failed`` is told what can't be fetched: the build would fail when it came to that step.
    """
    if not any(_may_fetch(step) for step in planned.stage.steps):
        return
    executor = DryExecutor({})
    dry = msgspec.structs.replace(
        state.shared, executor=executor, sink=silent, fetches=Fetches(executor)
    )
    looking = state.fork(dry)
    for place, step in enumerate(planned.stage.steps, 1):
        looking.shared = dry
        if _may_fetch(step):
            vertex = vertices.source(planned, place, looking.variables())
            fetches = Beginnings(
                state.shared.fetches, state.shared.sink, vertex, partial(_fails, step, failed)
            )
            looking.shared = msgspec.structs.replace(dry, fetches=fetches)
        trees = {name: Tree("layers") for name in sources_of(step)}
        try:
            await dispatch(looking, step, {"": Tree("context"), **trees})
        except KetchError:
            return  # the build ends there


def _fails(step: Instruction, failed: Failed, error: KetchError) -> None:
    failed(step, error if isinstance(error, StepFailed) else copy_failed(step, error))


def _may_fetch(step: Instruction) -> bool:
    return isinstance(step, Add) and any(is_remote(word) or "$" in word for word in step.sources)
