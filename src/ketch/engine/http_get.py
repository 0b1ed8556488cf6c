"""What is at a URL that a user gave: for imports, ADD and contexts of builds."""

from __future__ import annotations

import asyncio
import os
import ssl
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING
from urllib.parse import quote, urlsplit

from ketch.build.contexts.accounts import without_account
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp import ClientResponse
    from yarl import URL

CHUNK = 1 << 18
_CONNECT_TIMEOUT, _IDLE_TIMEOUT = 30, 60  # seconds
_REDIRECTS = 10
_AS_WRITTEN = "%/:=&?~#+!$,;'@()*[]"


@asynccontextmanager
async def opened(url: str, *, plain: bool = False, etag: str = "") -> AsyncIterator[ClientResponse]:
    """The answer to a GET, as it was sent; with ``plain`` what was only compressed for its way
    (Content-Encoding) is decompressed. The answer to an ``etag`` that still holds is 304.

    Raises ``InvalidParameter`` with Docker's words for a status that is no success, and when there
    is no answer or it breaks off while the block lasts.
    """
    import aiohttp  # few need an HTTP client

    asked = _parsed(url)
    shown = without_account(url)
    condition = {"If-None-Match": etag} if etag else {}
    timeout = aiohttp.ClientTimeout(
        total=None, sock_connect=_CONNECT_TIMEOUT, sock_read=_IDLE_TIMEOUT
    )
    try:
        async with (
            aiohttp.ClientSession(timeout=timeout, auto_decompress=plain) as session,
            session.get(
                asked,
                ssl=await asyncio.to_thread(ssl.create_default_context),
                max_redirects=_REDIRECTS,
                headers={"Accept-Encoding": "gzip" if plain else "identity", **condition},
            ) as response,
        ):
            unchanged = bool(etag) and response.status == 304
            if not unchanged and not 200 <= response.status < 300:
                status = f"{response.status} {response.reason or ''}".strip()
                raise InvalidParameter(f"failed to GET {shown} with status {status}")
            yield response
    except (aiohttp.ClientError, TimeoutError) as error:
        raise InvalidParameter(f"failed to GET {shown}: {_reason(error)}") from None
    except UnicodeError as error:  # the URL's host is no name of a host
        raise InvalidParameter(f"failed to GET {shown}: {error}") from None


def _parsed(url: str) -> URL:
    """As it is written, but for what no request line may have."""
    from yarl import URL

    shown = without_account(url)
    try:
        if not (urlsplit(url).hostname or "").isascii():
            return URL(url)
        asked = URL(quote(url, safe=_AS_WRITTEN), encoded=True)
        port, host = asked.port, asked.host
    except ValueError as error:
        raise InvalidParameter(f"failed to GET {shown}: {error}") from None
    if not host:
        raise InvalidParameter(f"failed to GET {shown}: there is no host in it")
    if not port or port > 0xFFFF:
        raise InvalidParameter(f"failed to GET {shown}: ports go from 1 to 65535")
    return asked


def _reason(error: Exception) -> str:
    """What is wrong, without the client library's own words about itself."""
    import aiohttp

    if isinstance(error, aiohttp.TooManyRedirects):
        return f"stopped after {_REDIRECTS} redirects"
    if isinstance(error, (aiohttp.NonHttpUrlClientError, aiohttp.InvalidURL)):
        return f"it leads to {error}, which is no URL of http or https"
    if isinstance(error, aiohttp.ClientPayloadError):
        return "the answer's body is cut short, or not compressed as its headers say"
    if isinstance(error, aiohttp.ClientConnectorError):
        number, text = error.os_error.errno, error.os_error.strerror
        if number and number > 0 and not isinstance(error, aiohttp.ClientSSLError):
            text = os.strerror(number)
        return f"{error.host}:{error.port}: {text}"
    if isinstance(error, TimeoutError):
        return f"no answer within {_CONNECT_TIMEOUT} s, or no more of it within {_IDLE_TIMEOUT} s"
    return str(error) or type(error).__name__


async def chunks(url: str) -> AsyncIterator[bytes]:
    """The body as it comes; raises as ``opened`` does."""
    async with opened(url) as response:
        async for chunk in response.content.iter_chunked(CHUNK):
            yield chunk
