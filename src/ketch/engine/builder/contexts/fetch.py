"""ADD of a URL: one file by http or https, streamed to disk."""

from __future__ import annotations

import hashlib
import os
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ketch.build.contexts.accounts import without_account
from ketch.engine.http_get import CHUNK
from ketch.engine.storing import storing

if TYPE_CHECKING:
    from aiohttp import ClientResponse, StreamReader


async def save(url: str, response: ClientResponse, path: str) -> str:
    """The answer's body as the new file ``path`` (mode 0600; its time is the answer's
    ``Last-Modified``); its digest."""
    with storing(f"what {without_account(url)} has"):
        digest = await _save(response.content, path)
    _set_time(path, response.headers.get("Last-Modified", ""))
    return digest


async def _save(content: StreamReader, path: str) -> str:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    digest = hashlib.sha256()
    with os.fdopen(fd, "wb") as file:
        async for chunk in content.iter_chunked(CHUNK):
            file.write(chunk)
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _set_time(path: str, modified: str) -> None:
    try:
        seconds = parsedate_to_datetime(modified).timestamp()
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0  # not now, or the layer would be another one each time
    os.utime(path, (seconds, seconds))
