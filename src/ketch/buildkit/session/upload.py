"""A context that a client has on its standard input, through its session (``moby.upload.v1``).

``docker buildx build - <context.tar`` names the context ``http://buildkit-session/ID``: no address,
but what ``Upload/Pull`` is asked for. Source: BuildKit's session/upload.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

from ketch.buildkit.messages.session import BytesMessage
from ketch.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from ketch.buildkit.session.sessions import Session

METHOD = "/moby.upload.v1.Upload/Pull"
_PREFIX = "http://buildkit-session/"


def is_upload(url: str) -> bool:
    """Whether a context is one of these."""
    return url.startswith(_PREFIX)


async def uploaded(session: Session, url: str) -> AsyncIterator[bytes]:
    """The bytes as they come; raises ``InvalidParameter`` when the client offers none."""
    parts = urlsplit(url)
    metadata = [("urlpath", parts.path), ("urlhost", parts.netloc)]
    try:
        async with session.stream(METHOD, BytesMessage, BytesMessage, metadata) as stream:
            await stream.end()
            async for message in stream:
                yield message.data
    except NotFound:
        raise InvalidParameter("the client offers no upload of the build context") from None
