"""Names and numbers of a build's vertices."""

from __future__ import annotations

import secrets
from collections.abc import Mapping

from ketch.build.contexts import named_contexts
from ketch.build.dockerfile.ast import Add, Copy, Instruction, Run, Workdir
from ketch.build.dockerfile.plan import Plan, PlannedStage
from ketch.build.progress import step_names
from ketch.build.progress.events import Vertex, vertex_digest

SCRATCH = "scratch"
_LAYERS = (Run, Copy, Add, Workdir)


class Vertices:
    """The vertices of one plan; digests are of this build alone.

    ``label`` tells the platforms of one build apart, whose plans are counted together: so many
    steps come ``before`` this plan's, and all plans have ``total``. ``contexts`` are the named
    ones, which are no images.
    """

    def __init__(
        self,
        plan: Plan,
        label: str = "",
        before: int = 0,
        total: int = 0,
        contexts: Mapping[str, str] | None = None,
    ) -> None:
        self._plan = plan
        self._contexts = contexts or {}
        self._label = f"{label} " if label else ""
        self._build = secrets.token_hex(8)
        self._total = total or plan.steps()
        self._images = 0
        self._exports = 0
        self._first: dict[int, int] = {}  # stage index → number of its FROM
        self._steps: dict[int, int] = {}  # stage index → how many steps it has
        self._several = len(plan.all) > 1 or any(
            _takes_from_outside(step) for planned in plan.all for step in planned.stage.steps
        )
        self._next = before + 1
        for planned in plan.stages:
            self._number(planned)

    def add(self, planned: PlannedStage) -> None:
        """A stage more than was known at the beginning."""
        self._number(planned)
        self._total = max(self._total, self._next - 1)

    def _number(self, planned: PlannedStage) -> None:
        index = planned.stage.index
        self._first[index] = self._next
        self._steps[index] = len(planned.stage.steps)
        self._next += 1 + len(planned.stage.steps)

    def step(
        self, planned: PlannedStage, place: int, variables: Mapping[str, str] | None = None
    ) -> Vertex:
        """An instruction of a stage; 0 is its FROM. ``variables`` are those it knows."""
        index = planned.stage.index
        instruction = _instructions(planned)[place]
        image = "" if place else self._base_image(planned)
        name = f"FROM {image}" if image else step_names.name(instruction, variables or {})
        return Vertex(
            digest=self._digest(index, place),
            name=f"{self._prefix(planned, place)}{name}",
            text=instruction.text,
            number=self._first[index] + place,
            total=self._total,
            stage=self.stage_name(planned),
            layer=_makes_layer(planned, place),
            inputs=self._inputs(planned, place),
            image=image,
            platform=planned.platform or self._label.strip(),
        )

    def source(self, planned: PlannedStage, place: int, variables: Mapping[str, str]) -> Vertex:
        """What an instruction fetches, beside the instruction: under its name, as in BuildKit."""
        step = self.step(planned, place, variables)
        digest = vertex_digest(step.digest, "source")
        return Vertex(digest=digest, name=step.name, stage=step.stage, platform=step.platform)

    def _base_image(self, planned: PlannedStage) -> str:
        """The full name of the image that a stage begins with, if it is one."""
        if planned.base_stage is not None or planned.image == SCRATCH:
            return ""
        named = named_contexts.find(self._contexts, planned.image, planned.platform)
        if named is not None and not named.startswith(named_contexts.IMAGE):
            return ""
        return step_names.image((named or planned.image).removeprefix(named_contexts.IMAGE))

    def last(self, planned: PlannedStage) -> int:
        """The number of a stage's last instruction."""
        return self._first[planned.stage.index] + len(planned.stage.steps)

    def image(self, reference: str) -> Vertex:
        """An image that a ``COPY --from`` names."""
        self._images += 1
        digest = vertex_digest(self._build, "image", self._images)
        name = step_names.image(reference)
        platform = self._label.strip()
        return Vertex(digest=digest, name=f"FROM {name}", image=name, platform=platform)

    def export(self, title: str) -> Vertex:
        """Something that is done with the outcome."""
        target = self._plan.target
        last = self._digest(target.stage.index, len(target.stage.steps))
        self._exports += 1
        digest = vertex_digest(self._build, "export", self._exports)
        return Vertex(digest=digest, name=title, inputs=(last,))

    def internal(self, name: str) -> Vertex:
        """Work of the engine's own, ``[internal] load …``."""
        return Vertex(digest=vertex_digest(self._build, name), name=f"[internal] {name}")

    def _digest(self, index: int, place: int) -> str:
        return vertex_digest(self._build, index, place)

    def stage_name(self, planned: PlannedStage) -> str:
        """Its name, or ``stage-n``."""
        return planned.stage.base.alias or f"stage-{planned.stage.index}"

    def _prefix(self, planned: PlannedStage, place: int) -> str:
        """``[build 2/5] ``: only what makes layers is counted, an image to begin with included."""
        if not _makes_layer(planned, place):
            return f"[{self._label}{self.stage_name(planned)}] "
        counted = [_makes_layer(planned, at) for at in range(len(planned.stage.steps) + 1)]
        number, count = sum(counted[: place + 1]), sum(counted)
        name = f"{self.stage_name(planned)} " if self._several else ""
        return f"[{self._label}{name}{number:>{len(str(count))}}/{count}] "

    def _inputs(self, planned: PlannedStage, place: int) -> tuple[str, ...]:
        """The step before (or the end of the stage that this one continues), and the ends of the
        stages that files are taken from."""
        index = planned.stage.index
        if place:
            used = (self._end_of(stage) for where, stage in planned.uses if where == place)
            return (self._digest(index, place - 1), *used)
        if planned.base_stage is None:
            return ()
        return (self._end_of(planned.base_stage),)

    def _end_of(self, index: int) -> str:
        return self._digest(index, self._steps[index])


def _takes_from_outside(step: Instruction) -> bool:
    """What BuildKit counts as a stage besides those of the file, be it nothing: then steps have the
    name of theirs in front."""
    if isinstance(step, Run):
        return any(mount.type != "bind" or mount.from_ for mount in step.mounts)
    return isinstance(step, Copy) and bool(step.from_)


def _makes_layer(planned: PlannedStage, place: int) -> bool:
    if place == 0:
        return planned.base_stage is None and planned.image != SCRATCH
    return isinstance(planned.stage.steps[place - 1], _LAYERS)


def _instructions(planned: PlannedStage) -> tuple[Instruction, ...]:
    return (planned.stage.base, *planned.stage.steps)
