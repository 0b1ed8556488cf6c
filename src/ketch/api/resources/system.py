"""The engine itself: ping, version, info, disk usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_system import info_json, version_json
from ketch.api.convert_usage import UsageFacts, disk_usage_json
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_PING_HEADERS = {
    "Builder-Version": "2",  # BuildKit
    "Swarm": "inactive",
    "Cache-Control": "no-cache, no-store, must-revalidate",
    "Pragma": "no-cache",
}
_USAGE_TYPES = frozenset({"container", "image", "volume", "build-cache"})


async def ping(call: Call) -> StreamResponse:
    """GET and HEAD /_ping"""
    if call.request.method == "HEAD":
        return responses.plain("", headers={**_PING_HEADERS, "Content-Length": "0"})
    return responses.plain("OK", headers=_PING_HEADERS)


async def version(call: Call) -> StreamResponse:
    """GET /version"""
    return responses.json(version_json(call.engine.system.version()))


async def info(call: Call) -> StreamResponse:
    """GET /info"""
    return responses.json(info_json(await call.engine.system.info(), call.version))


async def disk_usage(call: Call) -> StreamResponse:
    """GET /system/df"""
    asked = frozenset(call.query.getall("type", ()))
    for name in asked - _USAGE_TYPES:
        raise InvalidParameter(f"unknown object type: {name}")
    if not asked or call.version < (1, 42):
        asked = _USAGE_TYPES
    engine = call.engine
    facts = UsageFacts(
        await engine.system.disk_usage(asked),
        await engine.images.list({}, all=False, shared_size=True) if "image" in asked else (),
        await engine.builder.cache.usage() if "build-cache" in asked else (),
    )
    return responses.json(disk_usage_json(facts, asked, call.version))
