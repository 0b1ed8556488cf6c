"""A build's progress as BuildKit's ``SolveStatus``, an object a line (``--progress=rawjson``)."""

import time
from binascii import b2a_base64

from ketch.cli.build_steps import is_over
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    Event = dict[str, Any]


class RawJson:
    """Writes one object for each event that BuildKit has a word for."""

    def __init__(self, out: "TextIO") -> None:
        self._out = out
        self._vertices: dict[str, Event] = {}
        self._parts: dict[tuple[str, str], int] = {}  # vertex and part → when it began
        self.outcome: Event = {}

    def feed(self, event: "Event") -> None:
        """Show an event."""
        found = self._object(event)
        if found:
            self._out.write(fastjson.dumps(found).decode() + "\n")
            self._out.flush()

    def cancel(self) -> None:
        """Nothing more comes."""

    def finish(self) -> None:
        """Nothing more comes."""

    def _object(self, event: "Event") -> "Event":
        kind = event["type"]
        if kind in ("built", "failed"):
            self.outcome = event
        if kind == "began":
            return self._began(event)
        digest = event.get("digest", "")
        if digest not in self._vertices:
            return {}
        if kind == "ended":
            vertex = {**self._vertices[digest], "completed": stamp(event["at"])}
            vertex.update({"cached": True} if event.get("cached") else {})
            vertex.update({"error": event["error"]} if event.get("error") else {})
            return {"vertexes": [vertex]}
        if kind == "log":
            log = {"vertex": digest, "stream": event["stream"], "data": _base64(event["text"])}
            return {"logs": [{**log, "timestamp": stamp(event["at"])}]}
        if kind == "status":
            return {"statuses": [self._status(event)]}
        if kind == "warned":
            return {"warnings": [_warning(event)]}
        return {}

    def _began(self, event: "Event") -> "Event":
        vertex = event["vertex"]
        if not vertex.get("layer", True):
            return {}
        shown = {
            "digest": vertex["digest"],
            "inputs": vertex.get("inputs") or [],
            "name": vertex["name"],
            "started": stamp(event["at"]),
        }
        self._vertices[vertex["digest"]] = shown
        return {"vertexes": [shown]}

    def _status(self, event: "Event") -> "Event":
        name = f"{event['text']} {event['id']}".strip()
        began = self._parts.setdefault((event["digest"], name), event["at"])
        found = {
            "id": name,
            "vertex": event["digest"],
            "name": name,
            "current": event.get("current", 0),
            "total": event.get("total", 0),
            "timestamp": stamp(event["at"]),
            "started": stamp(began),
        }
        return {**found, "completed": stamp(event["at"])} if is_over(event) else found


def _warning(event: "Event") -> "Event":
    place = event.get("excerpt") or {}
    line = event.get("line", 0)
    short = f"{event['rule']}: {event['sentence']}" if event.get("rule") else event["sentence"]
    short += f" (line {line})" if event.get("rule") and line else ""
    found = {"vertex": event["digest"], "level": 1, "short": _base64(short)}
    found["detail"] = [_base64(text) for text in event.get("detail") or ()]
    found["url"] = event.get("url", "")
    if place:
        # as if it were the whole file, so that the numbers of its lines are right
        text = "\n" * (place["begin"] - 1) + "".join(f"{line}\n" for line in place["lines"])
        source = {"filename": place["filename"], "data": _base64(text)}
        found["sourceInfo"] = {**source, "language": "Dockerfile"}
    if line:
        first, last = place.get("first", line), place.get("last", line)
        found["range"] = [{"start": {"line": first}, "end": {"line": last}}]
    return {name: value for name, value in found.items() if value}


def _base64(text: str) -> str:
    return b2a_base64(text.encode(), newline=False).decode()


def stamp(ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 1_000_000_000))
    return f"{whole}.{ns % 1_000_000_000:09d}Z"
