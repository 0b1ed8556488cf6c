"""Live counters of containers."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_stats import stats_json
from ketch.engine.model import Stats
from ketch.errors import NotFound

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_INTERVAL = 1.0
"""Seconds between samples, as Docker's clients expect."""


async def stats(call: Call) -> StreamResponse:
    """GET /containers/{id}/stats"""
    containers = call.engine.containers
    record = await containers.get(call.id)
    if call.flag("stream", default=True):
        return await _stream(call, record.id)
    before = None
    if call.version < (1, 41) or not call.flag("one-shot"):
        before = await containers.stats(record.id)
        if before is not None:
            await asyncio.sleep(_INTERVAL)
    return responses.json(stats_json(record, await containers.stats(record.id), before))


async def _stream(call: Call, container_id: str) -> StreamResponse:
    response = await responses.stream(call, responses.JSON)
    before: Stats | None = None
    while True:
        try:
            record = await call.engine.containers.get(container_id)
            now = await call.engine.containers.stats(container_id)
        except NotFound:
            return response
        await response.write(responses.encode(stats_json(record, now, before)))
        before = now
        await asyncio.sleep(_INTERVAL)
