"""Uploads over connections that break and registries that fail for a moment."""

from __future__ import annotations

import io
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest
from aiohttp import web
from aiohttp.test_utils import TestServer

from distribution.fake_registry import digest_of
from ketch.distribution import upload
from ketch.distribution.auth import Credentials
from ketch.distribution.hosts import RegistrySettings
from ketch.distribution.upload import Uploader
from ketch.errors import KetchError, Unavailable
from ketch.oci.descriptor import Descriptor
from ketch.oci.reference import parse

DATA = b"layer" * 100_000
BLOB = Descriptor(media_type="x", digest=digest_of(DATA), size=len(DATA))


class Registry:
    """Takes blobs after ``failures`` tries; a failure is a status, 0 a connection that is cut."""

    def __init__(self, *failures: int) -> None:
        self.failures = list(failures)
        self.tries = 0
        self.stored = b""

    async def base(self, request: web.Request) -> web.Response:
        return web.Response()

    async def begin(self, request: web.Request) -> web.Response:
        return web.Response(status=202, headers={"Location": f"/up/{self.tries}"})

    async def put(self, request: web.Request) -> web.StreamResponse:
        self.tries += 1
        if self.failures:
            status = self.failures.pop(0)
            if status == 0:
                await request.content.read(1000)
                assert request.transport is not None
                request.transport.abort()
            return web.Response(status=status or 500)
        self.stored = await request.read()
        return web.Response(status=201)

    @asynccontextmanager
    async def uploader(self) -> AsyncIterator[Uploader]:
        app = web.Application(client_max_size=1 << 30)
        app.router.add_get("/v2/", self.base)
        app.router.add_post("/v2/r/blobs/uploads/", self.begin)
        app.router.add_put("/up/{try}", self.put)
        server = TestServer(app, host="127.0.0.1")
        await server.start_server()
        try:
            name = parse(f"127.0.0.1:{server.port}/r:1")
            async with Uploader(RegistrySettings(), name, Credentials()) as found:
                yield found
        finally:
            await server.close()


@pytest.fixture(autouse=True)
def _impatient(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(upload, "_PAUSE", 0.001)


async def send(registry: Registry) -> None:
    async with registry.uploader() as uploader:
        assert not await uploader.blob(BLOB, lambda: io.BytesIO(DATA), lambda sent: None)


@pytest.mark.parametrize("failures", [(0,), (503, 0, 429), (500, 500, 500, 500)])
async def test_passing_failures_are_waited_out(failures: tuple[int, ...]) -> None:
    registry = Registry(*failures)
    await send(registry)
    assert registry.stored == DATA
    assert registry.tries == len(failures) + 1


@pytest.mark.parametrize(("failures", "tries"), [((0,) * 9, 5), ((503,) * 9, 5), ((400,), 1)])
async def test_lasting_ones_are_told(failures: tuple[int, ...], tries: int) -> None:
    registry = Registry(*failures)
    with pytest.raises(KetchError, match="failed to push") as caught:
        await send(registry)
    assert registry.tries == tries
    assert isinstance(caught.value, Unavailable) == (failures[0] != 400)
