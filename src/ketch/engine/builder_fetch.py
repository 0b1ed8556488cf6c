"""ADD of a URL: one file by http or https, streamed to disk."""

from __future__ import annotations

import hashlib
import os
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from email.utils import parsedate_to_datetime
from typing import TYPE_CHECKING

from ketch.engine.storing import storing
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp import ClientResponse

_CHUNK = 1 << 18
_CONNECT_TIMEOUT, _IDLE_TIMEOUT = 30, 60  # seconds
_REDIRECTS = 10


async def fetch(url: str, path: str) -> str:
    """Download into ``path`` (mode 0600; its time is the answer's ``Last-Modified``); its digest.

    Raises ``InvalidParameter`` with Docker's words for another status than 200.
    """
    async with _opened(url) as response:
        with storing(f"what {url} has"):
            digest = await _save(response.content, path)
        _set_time(path, response.headers.get("Last-Modified", ""))
        return digest


async def chunks(url: str) -> AsyncIterator[bytes]:
    """What is at a URL, as it comes; raises as ``fetch`` does."""
    async with _opened(url) as response:
        async for chunk in response.content.iter_chunked(_CHUNK):
            yield chunk


@asynccontextmanager
async def _opened(url: str) -> AsyncIterator[ClientResponse]:
    import aiohttp  # an HTTP client is needed by few builds

    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_IDLE_TIMEOUT
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(url, max_redirects=_REDIRECTS) as response,
        ):
            if response.status != 200:
                status = f"{response.status} {response.reason or ''}".strip()
                raise InvalidParameter(f"failed to GET {url} with status {status}")
            yield response
    except (aiohttp.ClientError, TimeoutError, ValueError) as error:  # ValueError: the URL's host
        raise InvalidParameter(f"failed to GET {url}: {error or type(error).__name__}") from None


async def _save(content: object, path: str) -> str:
    from aiohttp import StreamReader

    assert isinstance(content, StreamReader)
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o600)
    digest = hashlib.sha256()
    with os.fdopen(fd, "wb") as file:
        async for chunk in content.iter_chunked(_CHUNK):
            file.write(chunk)
            digest.update(chunk)
    return f"sha256:{digest.hexdigest()}"


def _set_time(path: str, modified: str) -> None:
    try:
        seconds = parsedate_to_datetime(modified).timestamp()
    except (TypeError, ValueError, OverflowError):
        seconds = 0.0  # not now, or the layer would be another one each time
    os.utime(path, (seconds, seconds))
