"""A content store of the client's, through its session (``containerd.services.content.v1``).

A client serves several; a call names one by the metadata ``buildkit-attachable-store-id``:
``local:DIRECTORY`` for the directory of a cache, ``oci:NAME`` for a named context, ``export`` for
an output that is a directory. ``Write`` answers each message with one of its own.
Source: BuildKit's session/content, containerd's api/services/content/v1 and its server.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import AsyncGenerator, AsyncIterator
from contextlib import aclosing, asynccontextmanager
from typing import TYPE_CHECKING, Any, Protocol

from ketch.buildkit.messages.session import (
    ACTION_COMMIT,
    ACTION_WRITE,
    InfoRequest,
    InfoResponse,
    ReadContentRequest,
    ReadContentResponse,
    WriteContentRequest,
    WriteContentResponse,
)
from ketch.errors import DataCorrupt, InvalidParameter, NotFound, Unavailable
from ketch.oci import digest as digests
from ketch.oci.descriptor import LARGEST_BLOB, Descriptor

if TYPE_CHECKING:
    from contextlib import AbstractAsyncContextManager

    from ketch.build.request.offers import Blob

STORE_ID = "buildkit-attachable-store-id"
_SERVICE = "/containerd.services.content.v1.Content/"
INFO, READ, WRITE = _SERVICE + "Info", _SERVICE + "Read", _SERVICE + "Write"
_LARGEST = 64 << 20  # bytes of a document
_PIECE = 1 << 19  # bytes of a message; clients take 4 MiB at least
_PATIENCE = 120.0  # seconds for the client's next word


class Caller(Protocol):
    """The part of a session that this needs."""

    def stream(
        self, method: str, request: type[Any], reply: type[Any], metadata: Any = ()
    ) -> AbstractAsyncContextManager[Any]:
        """A call with messages both ways."""

    async def ask(self, method: str, request: Any, reply: type[Any], metadata: Any = ()) -> Any:
        """One request, one answer; None when the client says that there is none."""

    def supports(self, method: str) -> bool:
        """Whether the client serves a method."""


class ClientStore:
    """One store; a ``ketch.build.request.offers.LayoutSource``. Raises ``NotFound`` when the client
    serves none, ``Unavailable`` when it stops in the middle."""

    def __init__(self, session: Caller, store: str) -> None:
        if not session.supports(READ):
            raise NotFound(f"the client serves no content store, but the build needs {store}")
        self._session = session
        self._store = store
        self._metadata = [(STORE_ID, store)]

    async def _size(self, digest: str) -> int | None:
        """Bytes of a blob, None when the store lacks it."""
        request = InfoRequest(digest=digests.check(digest))
        async with _patience(self._store):
            found = await self._session.ask(INFO, request, InfoResponse, self._metadata)
        if found is None:
            return None
        size: int = found.info.size
        if found.info.digest != digest or not 0 <= size <= LARGEST_BLOB:
            raise DataCorrupt(f"the client's {self._store} tells nonsense about {digest}: refused")
        return size

    # reading

    async def document(self, tag: str, digest: str) -> bytes:
        """See ``LayoutSource``; a client looks tags up itself."""
        if not digest:
            raise InvalidParameter(f"{self._store} has to be named with a digest")
        size = await self._size(digest)
        if size is None:
            raise NotFound(f"the client's {self._store} lacks {digest}")
        return await self._whole(digest, size)

    async def read(self, blob: Descriptor) -> bytes:
        """See ``LayoutSource``."""
        return await self._whole(blob.digest, blob.size)

    async def _whole(self, digest: str, size: int) -> bytes:
        if size > _LARGEST:
            raise DataCorrupt(f"{digest} of the client's {self._store} has {size} bytes: refused")
        data = b"".join([piece async for piece in self._pieces(digest, size)])
        if not digests.matches(data, digest):
            raise DataCorrupt(f"the client's {self._store} sent other bytes than {digest}")
        return data

    async def pieces(self, blob: Descriptor) -> AsyncIterator[bytes]:
        """See ``LayoutSource``."""
        size = await self._size(blob.digest)
        if size is None:
            raise NotFound(f"the client's {self._store} lacks {blob.digest}")
        if size != blob.size:
            raise DataCorrupt(
                f"{blob.digest} of the client's {self._store} has {size} bytes, not {blob.size}"
            )
        async with aclosing(self._pieces(blob.digest, size)) as coming:
            async for piece in coming:
                yield piece

    async def _pieces(self, digest: str, size: int) -> AsyncGenerator[bytes, None]:
        """Not a byte more than announced, and not a message without any."""
        request = ReadContentRequest(digest=digest)
        at = 0
        calling = self._session.stream(
            READ, ReadContentRequest, ReadContentResponse, self._metadata
        )
        async with calling as stream:
            await stream.send_message(request, end=True)
            while (message := await self._next(stream)) is not None:
                end = at + len(message.data)
                if message.offset != at or not message.data or end > size:
                    raise DataCorrupt(
                        f"the client's {self._store} does not send {digest} in order: refused"
                    )
                at = end
                yield message.data
        if at != size:
            raise DataCorrupt(f"{digest} of the client's {self._store} ends after {at} bytes")

    async def _next(self, stream: Any) -> Any:
        async with _patience(self._store):
            return await stream.recv_message()

    # writing

    async def write(self, blob: Blob) -> None:
        """Store a blob, unless it is there."""
        if await self._size(blob.digest) == blob.size:
            return
        calling = self._session.stream(
            WRITE, WriteContentRequest, WriteContentResponse, self._metadata
        )
        ref = f"ketch-{secrets.token_hex(8)}"
        at = 0
        async with calling as stream:
            with blob.open() as file:
                while data := await asyncio.to_thread(file.read, _PIECE):
                    step = WriteContentRequest(action=ACTION_WRITE, ref=ref, offset=at, data=data)
                    at += len(data)
                    await self._step(stream, blob, step, at)
            last = WriteContentRequest(action=ACTION_COMMIT, ref=ref, offset=at)
            await self._step(stream, blob, last, at)

    async def _step(
        self, stream: Any, blob: Blob, request: WriteContentRequest, after: int
    ) -> None:
        """One message and its answer, which says how much the store has now."""
        request.total, request.expected = blob.size, blob.digest
        async with _patience(self._store):
            # half-closed at once: a server in Go resets a stream that is open at its end
            last = request.action == ACTION_COMMIT
            await stream.send_message(request, end=last)
            answer = await stream.recv_message()
            if answer is None and last:
                await stream.recv_trailing_metadata()  # raises what the client says
        if answer is None or answer.offset != after:
            raise Unavailable(f"the client's {self._store} did not take {blob.digest}")


@asynccontextmanager
async def _patience(store: str) -> AsyncIterator[None]:
    """A client that says nothing any more ends its own build only."""
    try:
        async with asyncio.timeout(_PATIENCE):
            yield
    except TimeoutError:
        raise Unavailable(
            f"the client's {store} said nothing for {_PATIENCE:.0f} seconds"
        ) from None
