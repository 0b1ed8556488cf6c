"""What a build says (POST /build?progress=events) as state that displays are made of.

Events are decoded JSON objects; their forms are those of the engine's build events: ``began``,
``log``, ``status``, ``warned``, ``ended``, and at the end ``built`` or ``failed``. Times are
nanoseconds since the epoch.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    Event = dict[str, Any]


class Step:
    """One vertex that is shown; ``number`` counts them from 1 as displays do (``#1``)."""

    __slots__ = (
        "began", "cached", "digest", "ended", "error", "logs", "name", "number", "parts", "stage",
    )  # fmt: skip

    def __init__(self, number: int, vertex: "Event", began: int) -> None:
        self.number = number
        self.digest: str = vertex["digest"]
        self.name: str = vertex["name"]
        self.stage: str = vertex.get("stage", "")
        self.began = began
        self.ended = 0
        self.cached = False
        self.error = ""
        self.logs: list[str] = []
        self.parts: dict[str, Event] = {}  # id of a part → its last status

    def seconds(self, now: int = 0) -> float:
        """How long it took, or has taken by ``now``."""
        return max(0, (self.ended or now) - self.began) / 1e9


class Steps:
    """All steps so far; instructions that make no layer are not shown."""

    def __init__(self) -> None:
        self.shown: list[Step] = []
        self.warnings: list[Event] = []
        self.outcome: Event = {}
        self._by_digest: dict[str, Step] = {}
        self._inputs: dict[str, list[str]] = {}  # of every vertex, shown or not

    def feed(self, event: "Event") -> "Step | None":
        """Take an event in; the step that it is about, if that is shown."""
        kind = event["type"]
        if kind == "began":
            return self._begin(event)
        if kind in ("built", "failed"):
            self.outcome = event
            return None
        if kind == "warned":
            self.warnings.append(event)
        step = self._by_digest.get(event.get("digest", ""))
        if step is None:
            return None
        if kind == "log":
            step.logs.append(event["text"])
        elif kind == "status":
            step.parts[event["id"]] = event
        elif kind == "ended":
            step.ended = event["at"]
            step.cached = event.get("cached", False)
            step.error = event.get("error", "")
        return step

    def _begin(self, event: "Event") -> "Step | None":
        vertex = event["vertex"]
        self._inputs[vertex["digest"]] = vertex.get("inputs") or []
        if not vertex.get("layer", True):
            return None
        step = Step(len(self.shown) + 1, vertex, event["at"])
        self.shown.append(step)
        self._by_digest[step.digest] = step
        return step

    def inputs_of(self, step: Step) -> "list[str]":
        """Digests of the shown steps that a step waits for, through those that are not shown."""
        found: list[str] = []
        waiting = list(self._inputs.get(step.digest, ()))
        while waiting:
            digest = waiting.pop()
            if digest in self._by_digest:
                found.append(digest)
            else:
                waiting += self._inputs.get(digest, ())
        return found

    def total(self) -> "tuple[int, int]":
        """(steps that are over, steps)."""
        return sum(bool(step.ended) for step in self.shown), len(self.shown)


def everything(events: "Iterable[Event]") -> Steps:
    """The state after a whole build."""
    steps = Steps()
    for event in events:
        steps.feed(event)
    return steps
