"""Images as archives: save and load."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.api import responses
from ketch.api.convert_platform import platform_text
from ketch.api.convert_progress import close, error_json, progress_json
from ketch.api.resources.container_files import send, upload
from ketch.errors import InvalidParameter, KetchError, in_words

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


async def save(call: Call) -> StreamResponse:
    """GET /images/get and /images/{name}/get"""
    platform = platform_text(call.text("platform"))
    one = call.params.get("name")
    names = (one,) if one else tuple(call.query.getall("names", ()))
    if not names:
        raise InvalidParameter("no image is named: give the parameter names")
    chunks = await call.engine.images.save(names, platform)
    try:
        return await send(call, chunks, {})
    finally:
        await close(chunks)


async def load(call: Call) -> StreamResponse:
    """POST /images/load: a malformed archive is told inside the stream, as Docker does."""
    platform = platform_text(call.text("platform"))
    quiet = call.flag("quiet")
    lines = call.engine.images.load(upload(call), platform)
    response = await responses.stream(call, responses.JSON)
    try:
        async for line in lines:
            if line.stream or line.error or not quiet:
                await response.write(responses.encode(progress_json(line)))
    except KetchError as error:
        await response.write(responses.encode(error_json(in_words(error))))
    finally:
        await close(lines)
    return response
