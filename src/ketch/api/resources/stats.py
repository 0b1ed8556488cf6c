"""Live counters of containers."""

from __future__ import annotations

from contextlib import aclosing
from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_stats import stats_json
from ketch.errors import NotFound

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def stats(call: Call) -> StreamResponse:
    """GET /containers/{id}/stats

    One answer holds two samples, a second apart; ``one-shot`` asks for the first alone.
    """
    samples = await call.engine.containers.stats(call.id)
    async with aclosing(samples):  # type: ignore[type-var]
        if call.flag("stream", default=True):
            response = await responses.stream(call, responses.JSON)
            async for sample in samples:
                await response.write(responses.encode(stats_json(*sample)))
            return response
        async for sample in samples:
            once = call.flag("one-shot") or sample.now is None
            if once or sample.before is not None:
                before = None if call.flag("one-shot") else sample.before
                return responses.json(stats_json(sample.record, sample.now, before))
    raise NotFound(f"No such container: {call.id}")
