"""The classic builder's text: ``Step 1/4 : FROM busybox``, `` ---> 0123456789ab``…

Clients show it as it is. It tells of one step after another, so what a later stage says while an
earlier one still runs waits here for its turn.
"""

from __future__ import annotations

from ketch.build.progress.events import (
    STDERR,
    Began,
    Ended,
    Event,
    Log,
    Note,
    StageDone,
    Status,
    Vertex,
    Warned,
)
from ketch.build.request.options import BuildOutput


class ClassicText:
    """Events in, messages out; ``quiet`` lets nothing pass but the closing words."""

    def __init__(self, *, quiet: bool = False) -> None:
        self._quiet = quiet
        self._turn = 1
        self._vertices: dict[str, Vertex] = {}
        self._ended: set[int] = set()
        self._waiting: dict[int, list[BuildOutput]] = {}

    def feed(self, event: Event) -> list[BuildOutput]:
        """The messages that can be shown now."""
        if self._quiet:
            return []
        if isinstance(event, Began):
            self._vertices[event.vertex.digest] = event.vertex
        number = event.number if isinstance(event, StageDone) else self._number(event)
        shown = list(self._say(event))
        if number > self._turn or (number and self._waiting.get(number)):
            self._waiting.setdefault(number, []).extend(shown)
            shown = []
        if isinstance(event, Ended) and number:
            self._ended.add(number)
        return shown + self._advance()

    def rest(self) -> list[BuildOutput]:
        """What still waits when the build ends before its time, in order."""
        found = [output for number in sorted(self._waiting) for output in self._waiting[number]]
        self._waiting.clear()
        return found

    def closing(self, image: str, tags: tuple[str, ...]) -> list[BuildOutput]:
        """The last words of a build that went well."""
        if not image:
            return []
        if self._quiet:
            return [BuildOutput(stream=f"{image}\n")]
        lines = [f"Successfully built {short(image)}", *(f"Successfully tagged {t}" for t in tags)]
        return [BuildOutput(stream=f"{line}\n") for line in lines]

    def _number(self, event: Event) -> int:
        assert not isinstance(event, StageDone)
        if isinstance(event, Began):
            return event.vertex.number
        return self._vertices[event.digest].number

    def _advance(self) -> list[BuildOutput]:
        """Whose turn it is; what it has said while it waited."""
        found = self._waiting.pop(self._turn, [])
        while self._turn in self._ended:
            self._turn += 1
            found += self._waiting.pop(self._turn, [])
        return found

    def _say(self, event: Event) -> list[BuildOutput]:
        if isinstance(event, Began):
            return _heading(event.vertex)
        if isinstance(event, Log):
            red = event.stream == STDERR
            return [BuildOutput(stream=f"\x1b[91m{event.text}\x1b[0m" if red else event.text)]
        if isinstance(event, Status):
            return self._status(event)
        if isinstance(event, Note):
            return [BuildOutput(stream=event.text)]
        if isinstance(event, Warned):
            if event.rule:
                return []  # the classic builder checks nothing
            return [BuildOutput(warning=event.sentence)]
        if isinstance(event, StageDone):
            return [BuildOutput(aux=event.image)]
        return self._ending(event)

    def _status(self, event: Status) -> list[BuildOutput]:
        if not self._vertices[event.digest].number:
            return []  # work of the engine's own, which the classic builder never spoke of
        return [
            BuildOutput(status=event.text, id=event.id, current=event.current, total=event.total)
        ]

    def _ending(self, event: Ended) -> list[BuildOutput]:
        if event.error or not self._vertices[event.digest].number:
            return []
        found = [BuildOutput(stream=" ---> Using cache\n")] if event.cached else []
        return [*found, BuildOutput(stream=f" ---> {short(event.image)}\n")]


def _heading(vertex: Vertex) -> list[BuildOutput]:
    if not vertex.number:
        return []
    step = f"Step {vertex.number}/{vertex.total} : {vertex.text}"
    return [BuildOutput(stream=step), BuildOutput(stream="\n")]


def short(image: str) -> str:
    """The first twelve characters of an ID."""
    return image.removeprefix("sha256:")[:12]
