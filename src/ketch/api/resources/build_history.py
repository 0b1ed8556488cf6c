"""The builds there were: a history that Docker's API does not have (docs/beyond.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketch.api import responses, times
from ketch.api.convert_build import event_line

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call
    from ketch.engine.builder.history.records import BuildRecord


async def list_(call: Call) -> StreamResponse:
    """GET /ketch/builds: newest first."""
    return responses.json([_json(record) for record in call.engine.builder.history.all()])


async def inspect(call: Call) -> StreamResponse:
    """GET /ketch/builds/{id}: a reference, the beginning of one, or ``^n``."""
    return responses.json(_json(call.engine.builder.history.resolve(call.id)))


async def events(call: Call) -> StreamResponse:
    """GET /ketch/builds/{id}/events: what it said, as lines of JSON."""
    history = call.engine.builder.history
    record = history.resolve(call.id)
    response = await responses.stream(call, responses.JSON)
    for event in history.events(record):
        await response.write(event_line(event))
    return response


async def remove(call: Call) -> StreamResponse:
    """DELETE /ketch/builds/{id}"""
    call.engine.builder.history.remove(call.id)
    return responses.empty()


async def prune(call: Call) -> StreamResponse:
    """POST /ketch/builds/prune: forget all that are over."""
    return responses.json({"Deleted": call.engine.builder.history.clear()})


def _json(record: BuildRecord) -> dict[str, Any]:
    over = record.completed_at
    return {
        "Ref": record.ref,
        "Name": record.name,
        "Status": record.status,
        "Error": record.error,
        "Image": record.image,
        "Tags": list(record.tags),
        "Dockerfile": record.dockerfile,
        "Target": record.target,
        "Platform": record.platform,
        "BuildArgs": list(record.build_args),
        "Started": record.started_at,
        "StartedAt": times.rfc3339(record.started_at),
        "CompletedAt": times.rfc3339(over) if over else "",
        "Duration": (over - record.started_at) if over else 0,
        "Steps": record.steps,
        "CachedSteps": record.cached,
        "CompletedSteps": record.done,
        "Warnings": record.warnings,
    }
