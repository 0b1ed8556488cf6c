"""The content store that clients read: what the build history keeps
(``containerd.services.content.v1``, read only)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality, Handler

from ketch.buildkit.calls import guarded, received
from ketch.buildkit.messages.session import (
    ContentInfo,
    InfoRequest,
    InfoResponse,
    ListContentRequest,
    ListContentResponse,
    ReadContentRequest,
    ReadContentResponse,
)
from ketch.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from grpclib.server import Stream

    from ketch.buildkit.history.service import HistoryFront

_CONTENT = "/containerd.services.content.v1.Content/"
_CHUNK = 1 << 20


class ServedContent:
    """Blobs by digest."""

    def __init__(self, history: HistoryFront) -> None:
        self._history = history

    def methods(self) -> dict[str, Handler]:
        """By path."""
        one, many = Cardinality.UNARY_UNARY, Cardinality.UNARY_STREAM
        read = Handler(guarded(self.read), many, ReadContentRequest, ReadContentResponse)
        listed = Handler(guarded(self.list), many, ListContentRequest, ListContentResponse)
        return {
            _CONTENT + "List": listed,
            _CONTENT + "Info": Handler(guarded(self.info), one, InfoRequest, InfoResponse),
            _CONTENT + "Read": read,
        }

    async def list(self, stream: Stream[Any, Any]) -> None:
        """All of them; raises ``Unsupported`` for a filter."""
        request = await received(stream)
        if any(request.filters):
            raise Unsupported("filters of the content store are not supported by ketch")
        found = [ContentInfo(digest=digest, size=size) for digest, size in self._history.blobs()]
        await stream.send_message(ListContentResponse(info=found))

    async def info(self, stream: Stream[Any, Any]) -> None:
        """How large it is."""
        request = await received(stream)
        size = len(self._history.blob(request.digest))
        info = ContentInfo(digest=request.digest, size=size)
        await stream.send_message(InfoResponse(info=info))

    async def read(self, stream: Stream[Any, Any]) -> None:
        """A part of it; size 0 is the rest. Raises ``InvalidParameter`` for one beyond its end."""
        request = await received(stream)
        data = self._history.blob(request.digest)
        end = request.offset + request.size if request.size else len(data)
        if not 0 <= request.offset <= end <= len(data):
            raise InvalidParameter(
                f"read of {request.size} bytes at {request.offset} is beyond the end: the blob has"
                f" {len(data)} bytes"
            )
        for start in range(request.offset, end, _CHUNK):
            piece = data[start : min(start + _CHUNK, end)]
            await stream.send_message(ReadContentResponse(offset=start, data=piece))
