"""What Docker's API does not have; every path begins with ``/ketch/`` (docs/beyond.md)."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses, times
from ketch.api.convert_why import why_json
from ketch.api.resources.execs import exec_json
from ketch.errors import InvalidParameter

_LONGEST_RERUN = 3600

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def why(call: Call) -> StreamResponse:
    """GET /ketch/containers/{id}/why: why it stopped or will not start."""
    return responses.json(why_json(await call.engine.containers.why(call.id)))


async def rerun(call: Call) -> StreamResponse:
    """POST /ketch/containers/{id}/rerun: start it with denied system calls written down.

    Answers as ``why`` after its end, or after ``t`` seconds (10) while it goes on.
    """
    seconds = call.integer("t", 10)
    if not 0 <= seconds <= _LONGEST_RERUN:
        raise InvalidParameter(f"invalid t: {seconds}: 0 to {_LONGEST_RERUN} seconds")
    return responses.json(why_json(await call.engine.containers.rerun(call.id, seconds)))


async def list_execs(call: Call) -> StreamResponse:
    """GET /ketch/containers/{id}/execs: live ones; with ``all`` those that ended lately too."""
    rows = [
        {
            **exec_json(record),
            "StartedAt": times.rfc3339(record.started_at),
            "DieWithClient": record.spec.die_with_client,
        }
        for record in await call.engine.execs.list(call.id)
        if record.running or call.flag("all")
    ]
    return responses.json(rows)


async def kill_exec(call: Call) -> StreamResponse:
    """POST /ketch/exec/{id}/kill: ``signal`` (KILL) to a process that exec started."""
    await call.engine.execs.kill(call.id, call.text("signal"))
    return responses.empty()
