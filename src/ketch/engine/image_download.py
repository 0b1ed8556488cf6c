"""Import of a URL: the archive as a stream."""

from __future__ import annotations

from collections.abc import AsyncIterator
from urllib.parse import urlsplit

from ketch.errors import InvalidParameter, KetchError, Unavailable

_CHUNK = 1 << 18
_CONNECT_TIMEOUT, _IDLE_TIMEOUT = 30, 60  # seconds
_REDIRECTS = 10


def checked_url(text: str) -> str:
    """An http(s) URL; without a scheme it is http, as with Docker. Raises ``InvalidParameter``."""
    url = text if "://" in text else f"http://{text}"
    parts = urlsplit(url)
    if parts.scheme not in ("http", "https") or not parts.hostname:
        raise InvalidParameter(f"cannot import {text!r}: an http or https URL is expected")
    return url


async def download(url: str) -> AsyncIterator[bytes]:
    """The body of a URL as it comes; raises ``Unavailable``, ``KetchError``."""
    import aiohttp  # few imports are of a URL

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
                raise KetchError(f"failed to GET {url} with status {status}")
            async for piece in response.content.iter_chunked(_CHUNK):
                yield piece
    except (aiohttp.ClientError, TimeoutError) as error:
        raise Unavailable(f"failed to GET {url}: {error or type(error).__name__}") from None
