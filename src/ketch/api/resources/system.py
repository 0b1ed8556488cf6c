"""The engine itself: ping, version, info, disk usage."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_system import disk_usage_json, info_json, version_json
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_PING_HEADERS = {
    "Builder-Version": "1",  # BuildKit is not served: the CLI takes the classic builder
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
    return responses.json(info_json(await call.engine.system.info()))


async def disk_usage(call: Call) -> StreamResponse:
    """GET /system/df"""
    asked = frozenset(call.query.getall("type", ()))
    for name in asked - _USAGE_TYPES:
        raise InvalidParameter(f"unknown object type: {name}")
    usage = await call.engine.system.disk_usage()
    return responses.json(disk_usage_json(usage, asked or _USAGE_TYPES, call.version))
