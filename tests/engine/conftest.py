"""Fixtures: an engine over fakes."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest

from engine.fakes import FakeLauncher, open_engine
from engine.real import Bench, settings_below
from ketch.engine.containers.record import Endpoint
from ketch.engine.engine import Engine


class FakeNetworks:
    """Connects everything to nothing, and counts."""

    def __init__(self) -> None:
        self.connected: set[str] = set()

    async def connect(self, record: Any, lease: Any = None) -> Any:
        self.connected.add(record.id)
        return FakeConnection()

    async def disconnect(self, container_id: str, *, tell: bool = False) -> None:
        await asyncio.sleep(0)
        self.connected.discard(container_id)

    async def restore(self, records: Any) -> dict[str, Any]:
        self.connected = {record.id for record in records}
        return {}

    async def forget(self, record: Any) -> None:
        self.connected.discard(record.id)


class FakeConnection:
    link = None
    endpoints = (Endpoint(network="bridge", network_id="n"),)
    ports = ()


@pytest.fixture
def launcher() -> FakeLauncher:
    return FakeLauncher()


@pytest.fixture
def networks() -> FakeNetworks:
    return FakeNetworks()


@pytest.fixture
async def engine(
    tmp_path: Path, launcher: FakeLauncher, networks: FakeNetworks
) -> AsyncIterator[Engine]:
    engine = open_engine(tmp_path, launcher, networks)
    await engine.start()
    yield engine
    await engine.close()


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """A real engine; at its end nothing of it is left."""
    bench = Bench(settings_below(tmp_path))
    async with asyncio.timeout(90):
        await bench.open()
        try:
            await bench.add_image()
            yield bench
        finally:
            await bench.destroy()
