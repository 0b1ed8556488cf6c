"""Build events to messages of ``Control.Status``."""

from __future__ import annotations

from collections.abc import Iterable, Iterator
from itertools import chain

from ketch.build.progress.events import Began, Ended, Event, Log, Status, Vertex, Warned
from ketch.buildkit.base_images import BaseImage
from ketch.buildkit.messages.control import (
    SourceInfo,
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
        self._images: dict[str, BaseImage] = {}  # by digest of the vertex that brings it
        self._first: dict[tuple[str, str], str] = {}  # image and platform → that digest
        self._parts: dict[tuple[str, str], int] = {}  # vertex and part → when it began

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
            self._ended(found, event)
        elif isinstance(event, Log):
            self._resolved(found, event.digest, event.at)
            found.logs.append(
                VertexLog(
                    vertex=self._shown_for(event.digest),
                    timestamp=Timestamp.of(event.at),
                    stream=event.stream,
                    msg=event.text.encode("utf-8", "replace"),
                )
            )
        elif isinstance(event, Status):
            self._status(found, event)
        elif isinstance(event, Warned):
            self._resolved(found, event.digest, event.at)
            found.warnings.append(_warning(event, self._shown_for(event.digest)))

    def _began(self, found: StatusResponse, event: Began) -> None:
        vertex = event.vertex
        if not vertex.layer:
            self._hidden[vertex.digest] = self._inputs(vertex.inputs)
            return
        if vertex.image:
            first = self._first.setdefault((vertex.image, vertex.platform), vertex.digest)
            if first != vertex.digest:
                self._hidden[vertex.digest] = (first,)
                return
            self._images[vertex.digest] = BaseImage(vertex, event.at)
            found.vertexes.append(self._images[vertex.digest].asked())
            return
        self._shown[vertex.digest] = (vertex, event.at)
        found.vertexes.append(self._vertex(vertex, event.at))

    def _resolved(self, found: StatusResponse, digest: str, at: int) -> None:
        """What comes now is said of an image that is known."""
        image = self._images.get(digest)
        if image is not None and not image.resolved:
            found.vertexes += [image.found(at), image.brought()]

    def _ended(self, found: StatusResponse, event: Ended) -> None:
        image = self._images.get(event.digest)
        if image is not None and not image.resolved and event.error:
            found.vertexes.append(image.found(event.at, event.error))
            return
        self._resolved(found, event.digest, event.at)
        if image is not None:
            shown = image.brought()
        elif event.digest in self._shown:
            shown = self._vertex(*self._shown[event.digest])
        else:
            return
        shown.completed = Timestamp.of(event.at if image is None else event.at + 2)
        shown.cached = event.cached or (image is not None and not image.pulled)
        # by these words clients tell a step that was canceled from one that failed
        shown.error = "context canceled" if event.error == "canceled" else event.error
        found.vertexes.append(shown)

    def _status(self, found: StatusResponse, event: Status) -> None:
        name = f"{event.text} {event.id}".strip()
        image = self._images.get(event.digest)
        if image is not None:
            told = image.status(event.id, event.text)
            if image.pulled:
                self._resolved(found, event.digest, event.at)
            if told is None or not image.resolved:
                return
            name = told
        if event.digest not in self._hidden:
            began = self._parts.setdefault((event.digest, name), event.at)
            found.statuses.append(_status(event, name, began))

    def _vertex(self, vertex: Vertex, began: int) -> StatusVertex:
        return StatusVertex(
            digest=vertex.digest,
            inputs=list(self._inputs(vertex.inputs)),
            name=vertex.name,
            started=Timestamp.of(began),
        )

    def _shown_for(self, digest: str) -> str:
        """The vertex that stands for one that is not shown."""
        return self._hidden[digest][0] if self._hidden.get(digest) else digest

    def _inputs(self, digests: Iterable[str]) -> tuple[str, ...]:
        """Instead of vertices that are not shown those that they wait for, each once."""
        found = (self._hidden.get(digest, (digest,)) for digest in digests)
        return tuple(dict.fromkeys(chain.from_iterable(found)))


def _status(event: Status, name: str, began: int) -> VertexStatus:
    done = event.done or event.current >= event.total > 0 or not (event.total or event.current)
    return VertexStatus(
        ID=name,
        vertex=event.digest,
        name=name,
        current=event.current,
        total=event.total,
        timestamp=Timestamp.of(event.at),
        started=Timestamp.of(began),
        completed=Timestamp.of(event.at) if done else None,
    )


def _warning(event: Warned, vertex: str) -> VertexWarning:
    short = f"{event.rule}: {event.sentence}" if event.rule else event.sentence
    if event.rule and event.line:
        short += f" (line {event.line})"
    shown = event.excerpt
    first, last = (shown.first, shown.last) if shown else (event.line, event.line)
    place = SourceRange(start=SourcePosition(line=first), end=SourcePosition(line=last))
    info = None
    if shown is not None:
        info = SourceInfo(filename=shown.filename, data=shown.text.encode(), language="Dockerfile")
    return VertexWarning(
        vertex=vertex,
        level=1,
        short=short.encode(),
        detail=[text.encode() for text in event.detail],
        url=event.url,
        info=info,
        ranges=[place] if first else [],
    )
