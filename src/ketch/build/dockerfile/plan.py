"""Which stages a build needs, and in which order."""

from __future__ import annotations

import re
from collections.abc import Container

import msgspec

from ketch.build.dockerfile.ast import Copy, Dockerfile, Instruction, Run, Stage
from ketch.build.dockerfile.scope import GlobalScope, expand_in
from ketch.build.dockerfile.source import DockerfileError, did_you_mean
from ketch.errors import InvalidParameter


class PlannedStage(msgspec.Struct, frozen=True):
    """A stage with its base found out: an earlier stage's index, or an image (None, name).

    ``uses`` holds (place of a step, counted from 1; index of the stage that it takes files from).
    ``error`` is why it can't be built, which matters only when it is needed.
    """

    stage: Stage
    base_stage: int | None
    image: str
    platform: str
    uses: tuple[tuple[int, int], ...]
    error: DockerfileError | None = None

    def needs(self) -> set[int]:
        """Indices of the stages that this one waits for."""
        base = () if self.base_stage is None else (self.base_stage,)
        return {*base, *(index for _, index in self.uses)}


class Plan(msgspec.Struct, frozen=True):
    """The needed stages in file order; the last one is the target. ``all`` also has those that only
    a trigger of a base image may need."""

    stages: tuple[PlannedStage, ...]
    all: tuple[PlannedStage, ...] = ()

    @property
    def target(self) -> PlannedStage:
        """The stage that becomes the image."""
        return self.stages[-1]

    def indices(self) -> frozenset[int]:
        """Of the needed stages, as the file counts them."""
        return frozenset(planned.stage.index for planned in self.stages)

    def steps(self) -> int:
        """Number of instructions, as ``Step 1/n`` counts them."""
        return sum(1 + len(planned.stage.steps) for planned in self.stages)


def make_plan(
    dockerfile: Dockerfile, scope: GlobalScope, target: str, contexts: Container[str] = ()
) -> Plan:
    """Resolve bases and names; raises ``InvalidParameter`` for an unknown target, and
    ``DockerfileError`` for a needed stage that takes files from one that does not come before it.

    A stage whose name is that of a named context is not built: it is what the context holds.
    """
    resolved = [
        _replaced(stage) if stage.base.alias in contexts else _resolve(dockerfile, stage, scope)
        for stage in dockerfile.stages
    ]
    last = _target(dockerfile, target)
    needed = {last}
    for planned in reversed(resolved[: last + 1]):
        if planned.stage.index in needed:
            if planned.error is not None:
                raise planned.error
            needed.update(planned.needs())
    stages = tuple(planned for planned in resolved if planned.stage.index in needed)
    return Plan(stages, tuple(resolved))


def find_stage(dockerfile: Dockerfile, name: str, before: int, *, numbers: bool) -> int | None:
    """The index of an earlier stage by its name (the latest wins) or, for COPY, its number."""
    for stage in reversed(dockerfile.stages[:before]):
        if stage.base.alias and stage.base.alias == name.lower():
            return stage.index
    if numbers and name.isascii() and name.isdigit() and len(name) < 6:
        return int(name) if int(name) < before else None
    return None


def _replaced(stage: Stage) -> PlannedStage:
    return PlannedStage(Stage(stage.index, stage.base, ()), None, stage.base.alias, "", ())


def _resolve(dockerfile: Dockerfile, stage: Stage, scope: GlobalScope) -> PlannedStage:
    base = stage.base
    variables = scope.variables()
    image = expand_in(base, base.image, variables, scope.escape)
    if not image:
        raise base.error(f"base name ({base.image}) should not be blank")
    platform = expand_in(base, base.platform, variables, scope.escape)
    if base.platform and not platform:
        raise base.error(f"empty platform value from expression {base.platform}")
    parent = find_stage(dockerfile, image, stage.index, numbers=False)
    try:
        uses, error = tuple(_used(dockerfile, stage)), None
    except DockerfileError as found:
        uses, error = (), found
    return PlannedStage(stage, parent, image, platform, uses, error)


def _used(dockerfile: Dockerfile, stage: Stage) -> list[tuple[int, int]]:
    found = []
    for place, step in enumerate(stage.steps, 1):
        _check_mounts(step)
        for name in sources_of(step):
            index = find_stage(dockerfile, name, stage.index, numbers=True)
            if index is not None:
                found.append((place, index))
            elif stage.base.alias and name.lower() == stage.base.alias:
                raise step.error(f"circular dependency detected on stage: {name}")
            elif find_stage(dockerfile, name, len(dockerfile.stages), numbers=False) is not None:
                verb = "copy" if isinstance(step, Copy) else "mount"
                raise step.error(
                    f'cannot {verb} from stage "{name}", it needs to be defined before the stage '
                    f"that uses it"
                )
            elif "$" in name:
                raise step.error(
                    "variable expansion is not supported for --from, define a new stage with FROM "
                    "using ARG from global scope as a workaround"
                )
            elif re.fullmatch("-?[0-9]+", name):
                raise step.error(
                    f"invalid from flag value {name}: there is no stage of that number "
                    "before this one"
                )
    return found


def _check_mounts(step: Instruction) -> None:
    for mount in step.mounts if isinstance(step, Run) else ():
        if mount.fault is not None:
            raise mount.fault


def sources_of(step: Instruction) -> list[str]:
    """The stages, images and named contexts that a step takes files from."""
    if isinstance(step, Copy):
        return [step.from_] if step.from_ else []
    if isinstance(step, Run):
        return list(dict.fromkeys(mount.from_ for mount in step.mounts if mount.from_))
    return []


def _target(dockerfile: Dockerfile, target: str) -> int:
    count = len(dockerfile.stages)
    if not target:
        return count - 1
    index = find_stage(dockerfile, target, count, numbers=True)
    if index is None:
        names = [stage.base.alias for stage in dockerfile.stages if stage.base.alias]
        hint = did_you_mean(target.lower(), names)
        raise InvalidParameter(f'target stage "{target}" could not be found{hint}')
    return index
