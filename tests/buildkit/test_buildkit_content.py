"""Content stores of clients: read, written, and clients that answer nonsense."""

from __future__ import annotations

import asyncio
import hashlib
import io
import socket
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Handler

from buildkit import content_store
from ketch.build.request.offers import Blob
from ketch.buildkit.messages import session as messages
from ketch.buildkit.session import content
from ketch.buildkit.session.content import ClientStore
from ketch.buildkit.session.sessions import Session
from ketch.buildkit.wire import ServedConnection, SocketChannel
from ketch.errors import DataCorrupt, InvalidParameter, KetchError, NotFound, Unavailable
from ketch.oci.descriptor import Descriptor

DATA = bytes(range(256)) * 9000  # more than two messages
DIGEST = f"sha256:{hashlib.sha256(DATA).hexdigest()}"
BLOB = Descriptor(media_type="x/y", digest=DIGEST, size=len(DATA))


@asynccontextmanager
async def serving(handlers: dict[str, Handler]) -> AsyncIterator[Session]:
    """A session whose client has these methods."""
    ours, theirs = socket.socketpair()
    served = asyncio.create_task(ServedConnection(handlers).serve(theirs, b""))
    found = Session("id", "", frozenset(name.lower() for name in handlers), SocketChannel(ours))
    running = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        running.cancel()
        served.cancel()
        await asyncio.gather(running, served, return_exceptions=True)


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    (tmp_path / "blobs/sha256").mkdir(parents=True)
    return tmp_path


def stored(folder: Path, data: bytes = DATA, digest: str = DIGEST) -> None:
    (folder / "blobs" / digest.replace(":", "/")).write_bytes(data)


async def test_what_a_store_has(folder: Path) -> None:
    stored(folder)
    async with serving(content_store.methods({"oci:x": folder})) as session:
        store = ClientStore(session, "oci:x")
        assert await store.read(BLOB) == DATA
        assert await store.document("latest", DIGEST) == DATA
        assert b"".join([piece async for piece in store.pieces(BLOB)]) == DATA
        missing = f"sha256:{'0' * 64}"
        with pytest.raises(NotFound, match="lacks sha256:000"):
            await store.document("", missing)
        with pytest.raises(InvalidParameter, match="with a digest"):
            await store.document("latest", "")
        with pytest.raises(KetchError, match="lacks"):
            await ClientStore(session, "oci:other").document("", DIGEST)
    async with serving({}) as session:
        with pytest.raises(NotFound, match="serves no content store"):
            ClientStore(session, "oci:x")


@pytest.mark.parametrize("data", [DATA, b"", b"x"])
async def test_what_is_put_there(folder: Path, data: bytes) -> None:
    digest = f"sha256:{hashlib.sha256(data).hexdigest()}"
    opened = []

    def source() -> Any:
        opened.append(1)
        return io.BytesIO(data)

    async with serving(content_store.methods({"export": folder})) as session:
        for _ in range(2):  # the second time it is there
            await ClientStore(session, "export").write(Blob(digest, len(data), source))
        assert len(opened) == 1
        other = Blob(f"sha256:{'1' * 64}", len(data), source)
        with pytest.raises(Unavailable, match="unexpected commit digest"):
            await ClientStore(session, "export").write(other)
    assert (folder / "blobs" / digest.replace(":", "/")).read_bytes() == data


class Liar:
    """A client whose answers are wrong in one way."""

    def __init__(self, kind: str) -> None:
        self.kind = kind
        self.sent = 0

    def handlers(self) -> dict[str, Handler]:
        calls = {content.INFO: self._info, content.READ: self._read, content.WRITE: self._write}
        return {
            name: Handler(calls[name], one.cardinality, one.request_type, one.reply_type)
            for name, one in content_store.methods({}).items()
        }

    async def _info(self, stream: Any) -> None:
        request = await stream.recv_message()
        size = {"huge": 1 << 62, "negative": -1, "other size": 7, "large": 65 << 20}
        digest = "sha256:" + "2" * 64 if self.kind == "other digest" else request.digest
        told = size.get(self.kind, len(DATA))
        if self.kind in ("deaf", "backwards", "silent writer"):
            told = 3  # so that something is written
        info = messages.ContentInfo(digest=digest, size=told)
        if self.kind != "silent":
            await stream.send_message(messages.InfoResponse(info=info))
        else:
            await asyncio.sleep(60)

    async def _read(self, stream: Any) -> None:
        await stream.recv_message()
        if self.kind == "short":
            await self._say(stream, 0, DATA[:100])
        elif self.kind == "wrong":
            await self._say(stream, 0, bytes(len(DATA)))
        elif self.kind == "disorder":
            await self._say(stream, 100, DATA)
        elif self.kind == "empty":
            while True:
                await self._say(stream, 0, b"")
        while True:  # for ever
            await self._say(stream, self.sent, bytes(1 << 20))

    async def _say(self, stream: Any, offset: int, data: bytes) -> None:
        self.sent += len(data)
        await stream.send_message(messages.ReadContentResponse(offset=offset, data=data))
        if self.kind in ("short", "wrong"):
            await stream.send_trailing_metadata()
            await asyncio.sleep(60)

    async def _write(self, stream: Any) -> None:
        async for _ in stream:
            if self.kind == "silent writer":
                await asyncio.sleep(60)
            if self.kind == "deaf":
                return
            await stream.send_message(messages.WriteContentResponse(offset=-5))


@pytest.mark.parametrize(
    ("kind", "said"),
    [
        ("huge", "tells nonsense"), ("negative", "tells nonsense"),
        ("other digest", "tells nonsense"), ("other size", "has 7 bytes, not"),
        ("short", "ends after 100 bytes"), ("disorder", "in order"), ("empty", "in order"),
        ("for ever", "in order"), ("silent", "said nothing for"),
    ],
)  # fmt: skip
async def test_lies_about_a_blob(kind: str, said: str, monkeypatch: pytest.MonkeyPatch) -> None:
    if kind == "silent":
        monkeypatch.setattr(content, "_PATIENCE", 0.2)
    liar = Liar(kind)
    async with asyncio.timeout(60), serving(liar.handlers()) as session:
        with pytest.raises(KetchError, match=said):
            async for _ in ClientStore(session, "oci:x").pieces(BLOB):
                pass
    assert liar.sent <= len(DATA) + (8 << 20)  # what was in flight


@pytest.mark.parametrize(
    ("kind", "said"), [("wrong", "other bytes than"), ("large", "68157440 bytes: refused")]
)
async def test_lies_about_a_document(kind: str, said: str) -> None:
    async with asyncio.timeout(60), serving(Liar(kind).handlers()) as session:
        with pytest.raises(DataCorrupt, match=said):
            await ClientStore(session, "local:/c").document("", DIGEST)


@pytest.mark.parametrize(
    ("kind", "said"),
    [("deaf", "did not take"), ("backwards", "did not take"), ("silent writer", "said nothing")],
)
async def test_a_store_that_takes_nothing(
    kind: str, said: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    if kind == "silent writer":
        monkeypatch.setattr(content, "_PATIENCE", 0.2)
    async with asyncio.timeout(60), serving(Liar(kind).handlers()) as session:
        with pytest.raises(Unavailable, match=said):
            await ClientStore(session, "export").write(
                Blob(DIGEST, len(DATA), lambda: io.BytesIO(DATA))
            )
