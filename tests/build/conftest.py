"""What tests of builds share: an executor that does nothing, a bench where everything is real."""

from __future__ import annotations

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from build.fakes import FakeExecutor
from build.real import Bench


@pytest.fixture
def executor() -> FakeExecutor:
    """With an image called ``base``."""
    fake = FakeExecutor()
    fake.add_image("base")
    return fake


@pytest.fixture
async def bench(tmp_path: Path) -> AsyncIterator[Bench]:
    """At its end a build has left nothing."""
    bench = Bench(tmp_path)
    await bench.open()
    try:
        yield bench
        assert bench.leftovers() == []
    finally:
        await bench.close()
