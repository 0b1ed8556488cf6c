"""Progress of long operations as the JSON lines that clients draw bars from."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, Any

from ketch.api import responses
from ketch.engine.progress import Progress
from ketch.errors import KetchError, in_words

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call


def progress_json(progress: Progress) -> dict[str, Any]:
    """One line; empty members are left out."""
    if progress.error:
        return error_json(progress.error)
    found: dict[str, Any] = {}
    if progress.stream:
        found["stream"] = progress.stream
    if progress.status:
        found["status"] = progress.status
    if progress.current or progress.total:
        detail = {"current": progress.current, "total": progress.total}
        found["progressDetail"] = {name: value for name, value in detail.items() if value}
    elif progress.id and not progress.heading:
        found["progressDetail"] = {}
    if progress.id:
        found["id"] = progress.id
    if progress.aux:
        found["aux"] = progress.aux
    return found


def error_json(message: str) -> dict[str, Any]:
    """The last line of a stream that failed."""
    return {"errorDetail": {"message": message}, "error": message}


async def send_progress(call: Call, lines: AsyncIterator[Progress]) -> StreamResponse:
    """Stream; what fails before the first line is an error status, later it is a line."""
    try:
        first = await anext(lines, None)
        response = await responses.stream(call, responses.JSON)
        if first is not None:
            await response.write(responses.encode(progress_json(first)))
        await _rest(response, lines)
        return response
    finally:
        await close(lines)


async def _rest(response: StreamResponse, lines: AsyncIterator[Progress]) -> None:
    try:
        async for line in lines:
            await response.write(responses.encode(progress_json(line)))
    except (KetchError, OSError) as error:
        if isinstance(error, ConnectionError):
            raise
        await response.write(responses.encode(error_json(in_words(error))))


async def close(iterator: object) -> None:
    """Close an async generator now, so that what it holds is let go at once."""
    aclose = getattr(iterator, "aclose", None)
    if aclose is not None:
        await aclose()
