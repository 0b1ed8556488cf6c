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

_KEPT = 1 << 20  # characters of a step's output
CANCELED = ("canceled", "context canceled")
"""What a step's error says when it was not the step's fault."""


class Part:
    """Something that a step does on the way, such as the download of a layer."""

    __slots__ = ("began", "last")

    def __init__(self, status: "Event") -> None:
        self.began: int = status["at"]
        self.last = status


class Step:
    """One vertex that is shown; ``number`` counts them from 1 as displays do (``#1``)."""

    __slots__ = (
        "_size",
        "began",
        "cached",
        "digest",
        "ended",
        "error",
        "is_image",
        "logs",
        "name",
        "number",
        "parts",
        "stage",
    )

    def __init__(self, number: int, vertex: "Event", began: int) -> None:
        self.number = number
        self.digest: str = vertex["digest"]
        self.name: str = vertex["name"]
        self.stage: str = vertex.get("stage", "")
        self.began = began
        self.ended = 0
        self.cached = False
        self.error = ""
        self.logs: list[str] = []  # what it wrote, of much the end
        self._size = 0  # characters in ``logs``
        self.parts: dict[str, Part] = {}  # by ID, or by what is said of those that have none
        self.is_image = bool(vertex.get("image"))

    def say(self, text: str) -> None:
        """It wrote something: a step that writes without end must not fill the memory."""
        self.logs.append(text)
        self._size += len(text)
        if self._size > 2 * _KEPT:
            while self._size - len(self.logs[0]) >= _KEPT:
                self._size -= len(self.logs.pop(0))

    def said(self, most: int) -> str:
        """The last characters that it wrote, ``most`` or a few more."""
        found, size = [], 0
        for text in reversed(self.logs):
            found.append(text[-most:])
            size += len(found[-1])
            if size >= most:
                break
        return "".join(reversed(found))

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
        self._images: dict[tuple[str, str], str] = {}  # image and platform → digest of its step
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
            step.say(event["text"])
        elif kind == "status":
            part = step.parts.setdefault(event["id"] or event["text"], Part(event))
            part.last = event
        elif kind == "ended":
            _end(step, event)
        return step

    def _begin(self, event: "Event") -> "Step | None":
        vertex = event["vertex"]
        self._inputs[vertex["digest"]] = vertex.get("inputs") or []
        if not vertex.get("layer", True) or self._is_known(vertex):
            return None
        step = Step(len(self.shown) + 1, vertex, event["at"])
        self.shown.append(step)
        self._by_digest[step.digest] = step
        return step

    def _is_known(self, vertex: "Event") -> bool:
        """Whether it brings an image that another stage has asked for already."""
        if not vertex.get("image"):
            return False
        key = (vertex["image"], vertex.get("platform", ""))
        first: str = self._images.setdefault(key, vertex["digest"])
        if first == vertex["digest"]:
            return False
        self._inputs[vertex["digest"]] = [first]
        return True

    def cancel(self, now: int) -> None:
        """What runs ends here."""
        for step in self.shown:
            if not step.ended:
                step.ended, step.error = now, CANCELED[0]

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


def _end(step: Step, event: "Event") -> None:
    """An image of which nothing had to be brought was here."""
    step.ended = event["at"]
    step.error = event.get("error", "")
    brought = any(part.last.get("total") for part in step.parts.values())
    step.cached = event.get("cached", False) or (step.is_image and not step.error and not brought)


def is_over(status: "Event") -> bool:
    """Whether a part is there: without sizes it is as soon as it is told."""
    current, total = status.get("current") or 0, status.get("total") or 0
    return bool(status.get("done")) or current >= total > 0 or not (current or total)


def part_text(status: "Event") -> str:
    """What it is, and how much of it."""
    current, total = status.get("current") or 0, status.get("total") or 0
    words = f"{status['text']} {status['id']}".strip()
    if total:
        return f"{words} {_size(current)} / {_size(total)}"
    return f"{words} {_size(current)}" if current else words


def _size(size: float) -> str:
    """With two digits behind the point, as BuildKit has it: it does not jump about as it grows."""
    if size < 1000:
        return f"{size}B"
    units = ["kB", "MB", "GB", "TB"]
    size /= 1000
    while size >= 1000 and len(units) > 1:
        size /= 1000
        del units[0]
    return f"{size:.2f}{units[0]}"


def everything(events: "Iterable[Event]") -> Steps:
    """The state after a whole build."""
    steps = Steps()
    for event in events:
        steps.feed(event)
    return steps
