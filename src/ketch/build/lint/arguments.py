"""Which build arguments a target takes, and where they are declared, as BuildKit's outline has it.

The target's own come first, then those of its base, then of stages that it takes files from: the
first declaration of a name counts. Those before the first FROM are told of where they are used,
if only by the defaults of others.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from typing import Any, NamedTuple

from ketch.build.dockerfile.ast import Arg, Dockerfile, Instruction
from ketch.build.dockerfile.plan import Plan, PlannedStage
from ketch.build.dockerfile.scope import GlobalScope, StageScope, expand_in
from ketch.build.dockerfile.source import DockerfileError


class Argument(NamedTuple):
    """One, with the instruction that declares it and the value it has without more."""

    name: str
    declared: Arg
    value: str | None


def arguments(dockerfile: Dockerfile, plan: Plan, scope: GlobalScope) -> list[Argument]:
    """By their place in the file."""
    outer = {name: arg for arg in dockerfile.global_args for name, _ in arg.pairs}
    found: dict[str, Argument] = {}
    for planned in _visited(plan):
        for name, one in _of_stage(planned, outer, scope).items():
            found.setdefault(name, one)
    found = {**_behind(found, outer, scope), **found}
    return sorted(found.values(), key=lambda one: one.declared.range.start.line)


def _of_stage(
    planned: PlannedStage, outer: dict[str, Arg], scope: GlobalScope
) -> dict[str, Argument]:
    own, found = StageScope(scope), dict[str, Argument]()
    base = planned.stage.base
    for name in _named(base, (base.image, base.platform), scope):
        if name in outer:
            found[name] = Argument(name, outer[name], scope.values.get(name))
    for step in planned.stage.steps:
        if isinstance(step, Arg):
            own.declare(step, {})
            for name, default in step.pairs:
                shared = default is None and (name, None) not in outer.get(name, step).pairs
                declared = outer.get(name, step) if shared else step
                found[name] = Argument(name, declared, own.args[name])
    return found


def _visited(plan: Plan) -> Iterator[PlannedStage]:
    by_index = {planned.stage.index: planned for planned in plan.stages}
    pending, seen = [plan.target.stage.index], set[int]()
    while pending:
        index = pending.pop()
        if index in seen or index not in by_index:
            continue
        seen.add(index)
        planned = by_index[index]
        yield planned
        base = [] if planned.base_stage is None else [planned.base_stage]
        pending += reversed([*base, *(used for _, used in planned.uses)])


def _behind(
    found: dict[str, Argument], outer: dict[str, Arg], scope: GlobalScope
) -> dict[str, Argument]:
    """Those before the first FROM that the defaults of these need."""
    behind: dict[str, Argument] = {}
    pending = [(name, one.declared) for name, one in found.items()]
    while pending:
        name, declared = pending.pop()
        if declared is not outer.get(name):
            continue  # a stage's own
        defaults = (default for named, default in declared.pairs if named == name and default)
        for needed in _named(declared, defaults, scope) & outer.keys() - behind.keys():
            behind[needed] = Argument(needed, outer[needed], scope.values.get(needed))
            pending.append((needed, outer[needed]))
    return behind


def _named(instruction: Instruction, words: Iterable[str], scope: GlobalScope) -> set[str]:
    """The variables in words of an instruction."""
    asked = _Asked()
    for word in words:
        try:
            expand_in(instruction, word, asked, scope.escape)
        except DockerfileError:
            pass  # one that has to be set
    return asked.names


class _Asked(dict[str, str]):
    """Knows nothing, and notes what it is asked for."""

    def __init__(self) -> None:
        super().__init__()
        self.names: set[str] = set()

    def get(self, name: str, default: Any = None) -> Any:
        """As of a dict."""
        self.names.add(name)
        return default

    def __contains__(self, name: object) -> bool:
        self.names.add(str(name))
        return False
