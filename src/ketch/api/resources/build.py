"""Building images with the classic builder's protocol."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_build import build_options, output_lines
from ketch.api.filters import keys, resolve_until
from ketch.api.refusal import refused
from ketch.api.resources.container_files import upload

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_PRUNE_FILTERS = keys("until id parent type description inuse shared private label label!")


_PRUNE_SPACES = ("keep-storage", "reserved-space", "max-used-space", "min-free-space")


async def build(call: Call) -> StreamResponse:
    """POST /build: what is wrong before the first step is an error status, later ones a line."""
    options = build_options(call)
    outputs = call.engine.builder.build(upload(call), options)
    try:
        output = await anext(outputs, None)
        response = await responses.stream(call, responses.JSON)
        while output is not None:
            for line in output_lines(output):
                await response.write(responses.encode(line))
            output = await anext(outputs, None)
        return response
    finally:
        await outputs.aclose()  # type: ignore[attr-defined]


async def prune(call: Call) -> StreamResponse:
    """POST /build/prune"""
    for name in _PRUNE_SPACES:
        if call.integer(name):
            raise refused(f"the parameter {name}")
    filters = resolve_until(call.filters(_PRUNE_FILTERS))
    report = await call.engine.builder.prune(filters, all=call.flag("all"))
    return responses.json(
        {"CachesDeleted": list(report.deleted) or None, "SpaceReclaimed": report.reclaimed}
    )
