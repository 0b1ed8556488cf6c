"""A build's progress as BuildKit's ``SolveStatus``, an object a line (``--progress=rawjson``)."""

import time
from binascii import b2a_base64

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
        self.outcome: Event = {}

    def feed(self, event: "Event") -> None:
        """Show an event."""
        found = self._object(event)
        if found:
            self._out.write(fastjson.dumps(found).decode() + "\n")
            self._out.flush()

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
            data = b2a_base64(event["text"].encode(), newline=False).decode()
            log = {"vertex": digest, "stream": event["stream"], "data": data}
            return {"logs": [{**log, "timestamp": stamp(event["at"])}]}
        if kind == "status":
            return {"statuses": [_status(event)]}
        if kind == "warned":
            short = b2a_base64(event["sentence"].encode(), newline=False).decode()
            return {"warnings": [{"vertex": digest, "level": 1, "short": short}]}
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


def _status(event: "Event") -> "Event":
    return {
        "id": f"{event['text']} {event['id']}".strip(),
        "vertex": event["digest"],
        "current": event.get("current", 0),
        "total": event.get("total", 0),
        "timestamp": stamp(event["at"]),
        "started": stamp(event["at"]),
    }


def stamp(ns: int) -> str:
    """RFC 3339 with nanoseconds, UTC."""
    whole = time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(ns // 1_000_000_000))
    return f"{whole}.{ns % 1_000_000_000:09d}Z"
