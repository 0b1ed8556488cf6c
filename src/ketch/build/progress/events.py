"""What a build tells while it runs: events about *vertices*, the steps as clients see them.

The solver and its executor make events; ``classic`` turns them into the text of the classic
builder, BuildKit's front into its status stream, and the history keeps them. One vertex begins
once and ends once; its output, its status lines and its warnings come in between. Vertices of
independent stages overlap.

Times are nanoseconds since the epoch.
"""

from __future__ import annotations

import hashlib
import time
from collections import deque
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import msgspec

from ketch.build.dockerfile.source import Excerpt

STDOUT, STDERR = 1, 2


class Vertex(msgspec.Struct, frozen=True, kw_only=True):
    """One step.

    ``name`` is what progress displays show (``[build 2/5] RUN make``), ``text`` the instruction as
    written. ``number`` counts the Dockerfile's instructions from 1 as ``Step 1/n`` does; 0 is work
    of the engine's own (loading the context, exporting). ``layer`` is False for instructions that
    only change the configuration. ``inputs`` are digests of the vertices that this one waits for.
    ``image`` is the full name of the image that this vertex brings, if it brings one, ``platform``
    the platform it was asked for.
    """

    digest: str
    name: str
    text: str = ""
    number: int = 0
    total: int = 0
    stage: str = ""
    layer: bool = True
    inputs: tuple[str, ...] = ()
    image: str = ""
    platform: str = ""


class Began(msgspec.Struct, frozen=True, tag="began"):
    """A vertex is under way."""

    vertex: Vertex
    at: int


class Log(msgspec.Struct, frozen=True, tag="log"):
    """Output of a step; ``stream`` is 1 for stdout, 2 for stderr."""

    digest: str
    stream: int
    text: str
    at: int


class Status(msgspec.Struct, frozen=True, tag="status"):
    """Progress of a part of a vertex, such as the download of a layer; sizes in bytes.

    Without a ``total`` a part that has a ``current`` size is over when it is ``done``, another one
    at once.
    """

    digest: str
    id: str
    text: str
    current: int
    total: int
    at: int
    done: bool = False


class Note(msgspec.Struct, frozen=True, tag="note"):
    """A line that belongs to the classic builder's text only."""

    digest: str
    text: str


class Warned(msgspec.Struct, frozen=True, tag="warned"):
    """A sentence about the Dockerfile; ``line`` counts from 1, 0 = none in particular.

    ``rule`` and ``url`` name the lint rule that was broken, if it was one.
    """

    digest: str
    sentence: str
    line: int
    at: int
    rule: str = ""
    url: str = ""
    detail: tuple[str, ...] = ()
    excerpt: Excerpt | None = None


class Ended(msgspec.Struct, frozen=True, tag="ended"):
    """A vertex is over. ``image`` is the ID of the stage's image so far; empty after a failure."""

    digest: str
    at: int
    cached: bool = False
    error: str = ""
    image: str = ""


class StageDone(msgspec.Struct, frozen=True, tag="stage"):
    """A stage ended with this image; ``number`` is that of its last instruction."""

    image: str
    number: int


Event = Began | Log | Status | Note | Warned | Ended | StageDone
Sink = Callable[[Event], None]


Hear = Callable[[int, str], None]  # stream, text
_REMEMBERED = 64 << 10  # characters of a step's output, for those who come to wait for it


class Report:
    """One vertex's way to the sink. ``below`` is the layer that the step stands on."""

    def __init__(self, sink: Sink, vertex: Vertex) -> None:
        self.vertex = vertex
        self.below = ""
        self._sink = sink
        self._cached = False
        self._said: deque[tuple[int, str]] = deque()
        self._size = 0  # characters in ``_said``
        self._hearing: list[Hear] = []
        sink(Began(vertex, time.time_ns()))

    def output(self, stream: int, text: str) -> None:
        """What the step's process wrote."""
        self._sink(Log(self.vertex.digest, stream, text, time.time_ns()))
        self._said.append((stream, text))
        self._size += len(text)
        while self._size > _REMEMBERED:
            self._size -= len(self._said.popleft()[1])
        for hear in self._hearing:
            hear(stream, text)

    @contextmanager
    def heard(self, hear: Hear) -> Iterator[None]:
        """Tell another build that waits for this step what its process wrote lately, and writes as
        long as the block lasts."""
        for stream, text in self._said:
            hear(stream, text)
        self._hearing.append(hear)
        try:
            yield
        finally:
            self._hearing.remove(hear)

    def status(
        self, id: str, text: str, current: int = 0, total: int = 0, *, done: bool = False
    ) -> None:
        """Progress of a part."""
        self._sink(Status(self.vertex.digest, id, text, current, total, time.time_ns(), done))

    def note(self, text: str) -> None:
        """A line of the classic text."""
        self._sink(Note(self.vertex.digest, text))

    def warn(self, sentence: str, line: int = 0) -> None:
        """Something that the Dockerfile's author should know."""
        self.warn_of(Warned(self.vertex.digest, sentence, line, time.time_ns()))

    def warn_of(self, warned: Warned) -> None:
        """The same in full."""
        self._sink(warned)

    def cached(self) -> None:
        """The step was taken from the cache."""
        self._cached = True

    @contextmanager
    def beside(self, title: str) -> Iterator[Report]:
        """A vertex of the engine's own that lasts as long as the block, within this one's time."""
        digest = vertex_digest(self.vertex.digest, title)
        report = Report(self._sink, Vertex(digest=digest, name=title))
        try:
            yield report
        except BaseException as error:
            report.end(error=str(error) or "canceled")
            raise
        report.end()

    def end(self, image: str = "", error: str = "") -> None:
        """It is over."""
        cached = self._cached and not error
        self._sink(Ended(self.vertex.digest, time.time_ns(), cached, error, image))


def vertex_digest(*words: object) -> str:
    """``sha256:…`` that names a vertex by what makes it one."""
    text = "\0".join(str(word) for word in words)
    return "sha256:" + hashlib.sha256(text.encode()).hexdigest()
