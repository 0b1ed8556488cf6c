"""Which trees beside its result a build wants bills of materials of: BUILDKIT_SBOM_SCAN_STAGE and
BUILDKIT_SBOM_SCAN_CONTEXT (docs.docker.com/build/metadata/attestations/sbom).

They count where an ARG declares them: in a stage, or before the first FROM for all stages. The
value is true, false, or names of stages.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.build.dockerfile.ast import Arg
from ketch.build.executor import Tree

if TYPE_CHECKING:
    from ketch.build.dockerfile.plan import PlannedStage
    from ketch.build.solver import Solver

_STAGE, _CONTEXT = "BUILDKIT_SBOM_SCAN_STAGE", "BUILDKIT_SBOM_SCAN_CONTEXT"
_WORDS = {"1": True, "t": True, "true": True, "": False, "0": False, "f": False, "false": False}
Scanned = tuple[tuple[str, Tree], ...]
"""Names, as files are called that tell of them, and trees."""


def scanned(solver: Solver) -> Scanned:
    """Of a build whose steps are done; the target is looked at anyway."""
    plan = solver.prepared.plan
    found: dict[str, Tree] = {}
    for planned in plan.stages:
        name = solver.vertices.stage_name(planned)
        if _wanted(solver, planned, _CONTEXT, name):
            found["sbom-context"] = Tree("context")
        if planned is not plan.target and _wanted(solver, planned, _STAGE, name):
            layers = tuple(solver.stages[planned.stage.index].result().layers)
            found[f"sbom-{name}"] = Tree("layers", layers)
    return tuple(found.items())


def _wanted(solver: Solver, planned: PlannedStage, name: str, stage: str) -> bool:
    value = solver.shared.scope.values.get(name)
    steps = planned.stage.steps
    if any(name == key for step in steps if isinstance(step, Arg) for key, _ in step.pairs):
        value = solver.stages[planned.stage.index].result().scope.args[name]
    word = (value or "").strip().lower()
    return _WORDS[word] if word in _WORDS else stage in [part.strip() for part in word.split(",")]
