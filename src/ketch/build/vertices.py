"""Names and numbers of a build's vertices."""

from __future__ import annotations

import secrets

from ketch.build.ast import Add, Copy, From, Instruction, Run, Workdir
from ketch.build.plan import Plan, PlannedStage
from ketch.build.progress import Vertex, vertex_digest

_LAYERS = (From, Run, Copy, Add, Workdir)


class Vertices:
    """The vertices of one plan; digests are of this build alone.

    ``label`` tells the platforms of one build apart, whose plans are counted together: so many
    steps come ``before`` this plan's, and all plans have ``total``.
    """

    def __init__(self, plan: Plan, label: str = "", before: int = 0, total: int = 0) -> None:
        self._plan = plan
        self._label = f"{label} " if label else ""
        self._build = secrets.token_hex(8)
        self._total = total or plan.steps()
        self._images = 0
        self._exports = 0
        self._first: dict[int, int] = {}  # stage index → number of its FROM
        number = before + 1
        for planned in plan.stages:
            self._first[planned.stage.index] = number
            number += 1 + len(planned.stage.steps)

    def step(self, planned: PlannedStage, place: int) -> Vertex:
        """An instruction of a stage; 0 is its FROM."""
        index = planned.stage.index
        instruction = _instructions(planned)[place]
        continues = place == 0 and planned.base_stage is not None
        return Vertex(
            digest=self._digest(index, place),
            name=f"{self._prefix(planned, place)}{instruction.text}",
            text=instruction.text,
            number=self._first[index] + place,
            total=self._total,
            stage=self.stage_name(planned),
            layer=isinstance(instruction, _LAYERS) and not continues,
            inputs=self._inputs(planned, place),
        )

    def last(self, planned: PlannedStage) -> int:
        """The number of a stage's last instruction."""
        return self._first[planned.stage.index] + len(planned.stage.steps)

    def image(self, reference: str) -> Vertex:
        """An image that a ``COPY --from`` names."""
        self._images += 1
        digest = vertex_digest(self._build, "image", self._images)
        return Vertex(digest=digest, name=f"FROM {reference}")

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
        """``[build 2/5] ``: only instructions that make layers are counted."""
        instructions = _instructions(planned)
        if not isinstance(instructions[place], _LAYERS):
            return f"[{self._label}{self.stage_name(planned)}] "
        count = sum(isinstance(step, _LAYERS) for step in instructions)
        number = sum(isinstance(step, _LAYERS) for step in instructions[: place + 1])
        named = len(self._plan.stages) > 1 or planned.stage.base.alias
        name = f"{self.stage_name(planned)} " if named else ""
        return f"[{self._label}{name}{number}/{count}] "

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
        stage = next(found for found in self._plan.stages if found.stage.index == index)
        return self._digest(index, len(stage.stage.steps))


def _instructions(planned: PlannedStage) -> tuple[Instruction, ...]:
    return (planned.stage.base, *planned.stage.steps)
