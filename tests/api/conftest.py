"""A served fake engine and a client of it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from api.fake_engine import FakeEngine
from api.wire import Client
from ketch.api.server import ApiServer


@pytest.fixture
def engine() -> FakeEngine:
    return FakeEngine()


@pytest.fixture
async def address(engine: FakeEngine, tmp_path: Path) -> AsyncIterator[str]:
    api = ApiServer(engine)  # type: ignore[arg-type]
    path = str(tmp_path / "s")
    server = await asyncio.get_running_loop().create_unix_server(api.protocol_factory, path)
    yield path
    server.close()
    await api.close(0.1)


@pytest.fixture
async def client(address: str) -> AsyncIterator[Client]:
    reader, writer = await asyncio.open_unix_connection(address)
    yield Client(reader, writer)
    writer.close()
