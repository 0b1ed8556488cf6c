"""Build events to messages of ``Control.Status``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from ketch.build.progress import Began, Ended, Event, Log, Status, Vertex, Warned
from ketch.buildkit.control_messages import (
    SourcePosition,
    SourceRange,
    StatusResponse,
    StatusVertex,
    VertexLog,
    VertexStatus,
    VertexWarning,
)
from ketch.protobuf import Timestamp

_PORTION = 1 << 20  # characters of one message, about
_ROOM = 200  # characters of an event without its text, about


class StatusWriter:
    """Remembers the vertices of one stream; instructions that make no layer are not shown."""

    def __init__(self) -> None:
        self._shown: dict[str, tuple[Vertex, int]] = {}
        self._hidden: dict[str, tuple[str, ...]] = {}  # digest → those it waits for that are shown

    def responses(self, events: Iterable[Event]) -> Iterator[StatusResponse]:
        """Messages for some events, none so large that a client refuses it (16 MiB)."""
        found, size = StatusResponse(), 0
        for event in events:
            size += _ROOM + (len(event.text) if isinstance(event, Log) else 0)
            if size > _PORTION:
                yield found
                found, size = StatusResponse(), 0
            self._add(found, event)
        yield found

    def response(self, event: Event) -> StatusResponse:
        """The message for one event."""
        found = StatusResponse()
        self._add(found, event)
        return found

    def _add(self, found: StatusResponse, event: Event) -> None:
        if isinstance(event, Began):
            self._began(found, event)
        elif isinstance(event, Ended):
            if event.digest in self._shown:
                found.vertexes.append(self._ended(event))
        elif isinstance(event, Log):
            found.logs.append(
                VertexLog(
                    vertex=event.digest,
                    timestamp=Timestamp.of(event.at),
                    stream=event.stream,
                    msg=event.text.encode("utf-8", "replace"),
                )
            )
        elif isinstance(event, Status):
            found.statuses.append(_status(event))
        elif isinstance(event, Warned):
            found.warnings.append(_warning(event))

    def _began(self, found: StatusResponse, event: Began) -> None:
        vertex = event.vertex
        if not vertex.layer:
            self._hidden[vertex.digest] = self._inputs(vertex.inputs)
            return
        self._shown[vertex.digest] = (vertex, event.at)
        found.vertexes.append(self._vertex(vertex, event.at))

    def _ended(self, event: Ended) -> StatusVertex:
        vertex, began = self._shown[event.digest]
        shown = self._vertex(vertex, began)
        shown.completed = Timestamp.of(event.at)
        shown.cached = event.cached
        shown.error = event.error
        return shown

    def _vertex(self, vertex: Vertex, began: int) -> StatusVertex:
        return StatusVertex(
            digest=vertex.digest,
            inputs=list(self._inputs(vertex.inputs)),
            name=vertex.name,
            started=Timestamp.of(began),
        )

    def _inputs(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Instead of vertices that are not shown those that they wait for, each once."""
        found = (self._hidden.get(digest, (digest,)) for digest in digests)
        return tuple(dict.fromkeys(chain.from_iterable(found)))


def _status(event: Status) -> VertexStatus:
    name = f"{event.text} {event.id}".strip() if event.id else event.text
    at = Timestamp.of(event.at)
    done = bool(event.total) and event.current >= event.total
    return VertexStatus(
        ID=name,
        vertex=event.digest,
        name=name,
        current=event.current,
        total=event.total,
        timestamp=at,
        started=at,
        completed=at if done or not event.total else None,
    )


def _warning(event: Warned) -> VertexWarning:
    short = f"{event.rule}: {event.sentence}" if event.rule else event.sentence
    if event.rule and event.line:
        short += f" (line {event.line})"
    place = SourcePosition(line=event.line)
    return VertexWarning(
        vertex=event.digest,
        level=1,
        short=short.encode(),
        url=event.url,
        ranges=[SourceRange(start=place, end=place)] if event.line else [],
    )
