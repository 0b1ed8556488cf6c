"""What is at a URL that a user gave: for imports, ADD and contexts of builds."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp import ClientResponse

CHUNK = 1 << 18
_CONNECT_TIMEOUT, _IDLE_TIMEOUT = 30, 60  # seconds
_REDIRECTS = 10


@asynccontextmanager
async def opened(url: str) -> AsyncIterator[ClientResponse]:
    """The answer to a GET, as it was sent (nothing is decompressed).

    Raises ``InvalidParameter`` with Docker's words for another status than 200, and when there is
    no answer or it breaks off while the block lasts.
    """
    import aiohttp  # few need an HTTP client
    from yarl import URL

    try:
        asked = URL(url)
    except ValueError as error:
        raise InvalidParameter(f"failed to GET {url}: {error}") from None
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_IDLE_TIMEOUT
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=False) as session,
            session.get(asked, max_redirects=_REDIRECTS) as response,
        ):
            if response.status != 200:
                status = f"{response.status} {response.reason or ''}".strip()
                raise InvalidParameter(f"failed to GET {url} with status {status}")
            yield response
    except (aiohttp.ClientError, TimeoutError) as error:
        raise InvalidParameter(f"failed to GET {url}: {error or type(error).__name__}") from None
    except UnicodeError as error:  # the URL's host is no name of a host
        raise InvalidParameter(f"failed to GET {url}: {error}") from None


async def chunks(url: str) -> AsyncIterator[bytes]:
    """The body as it comes; raises as ``opened`` does."""
    async with opened(url) as response:
        async for chunk in response.content.iter_chunked(CHUNK):
            yield chunk
