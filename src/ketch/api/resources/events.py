"""The event stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketch.api import responses
from ketch.api.times import SECOND
from ketch.engine.events.values import Event
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def stream(call: Call) -> StreamResponse:
    """GET /events: one JSON object a line, its head at once."""
    since, until = call.instant("since"), call.instant("until")
    if since and until and since > until:
        raise InvalidParameter("`since` time cannot be after `until` time")
    events = call.engine.events.stream(since, until, call.filters())
    response = await responses.stream(call, responses.JSON)
    async for event in events:
        await response.write(responses.encode(event_json(event)))
    return response


def event_json(event: Event) -> dict[str, Any]:
    """One event, with the old flat members that clients of these versions still read."""
    attributes = {name: event.attributes[name] for name in sorted(event.attributes)}
    found: dict[str, Any] = {}
    if event.type in ("container", "image"):
        found = {"status": event.action, "id": event.actor}
        if event.type == "container":
            found["from"] = attributes.get("image", "")
    return found | {
        "Type": event.type,
        "Action": event.action,
        "Actor": {"ID": event.actor, "Attributes": attributes},
        "scope": "local",
        "time": event.time // SECOND,
        "timeNano": event.time,
    }
