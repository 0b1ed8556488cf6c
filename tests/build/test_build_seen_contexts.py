"""Small contexts that came before are read again only when a step wants files."""

from __future__ import annotations

from collections.abc import AsyncIterator
from typing import Any

import pytest

from build.real import NEEDS, Bench
from ketch.build.request.options import BuildOptions
from ketch.engine.builder.contexts import seen
from ketch.engine.builder.contexts.seen import Archive, SeenContexts
from ketch.engine.builder.contexts.source import TarSource
from ketch.engine.builder.workers import BuildWorkers
from ketch.errors import InvalidParameter


def real(test: Any) -> Any:
    """With a ``Bench``."""
    for mark in NEEDS:
        test = mark(test)
    return test


TEXT = "FROM busybox\nCOPY a /a\nRUN cat /a > /b\n"


@pytest.fixture
def asked(monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Every worker that builds take."""
    taken: list[str] = []
    start = BuildWorkers._start

    async def noted(self: BuildWorkers, stream: int) -> Any:
        taken.append("worker")
        return await start(self, stream)

    monkeypatch.setattr(BuildWorkers, "_start", noted)
    return taken


@real
async def test_the_same_bytes_need_no_worker_until_a_step_misses(
    bench: Bench, asked: list[str]
) -> None:
    first = await bench.build(TEXT, {"a": b"1"})
    assert asked
    asked.clear()
    again = await bench.build(TEXT, {"a": b"1"})
    assert again["id"] == first["id"]
    assert bench.text.count("Using cache") == 2
    assert not asked
    bench.builder._cache.forget(list(bench.builder._cache._steps))
    await bench.build(TEXT, {"a": b"1"})
    assert bench.text.count("Using cache") == 0
    assert asked


@real
async def test_another_content_of_the_same_size_and_time_is_noticed(
    bench: Bench, asked: list[str]
) -> None:
    first = await bench.build(TEXT, {"a": b"1"})
    asked.clear()
    second = await bench.build(TEXT, {"a": b"2"})  # all times of the archive are 0
    assert asked
    assert second["layers"] != first["layers"]
    assert bench.text.count("Using cache") == 0


@real
async def test_what_is_no_archive_is_the_clients_fault(bench: Bench) -> None:
    async def stream() -> AsyncIterator[bytes]:
        yield b"no tar" * 100

    with pytest.raises(InvalidParameter, match="tar header"):
        async for _ in bench.builder.build(TarSource(stream()), BuildOptions()):
            pass


def test_answers_belong_to_bytes_and_dockerfile_and_are_bounded() -> None:
    known = SeenContexts()
    known.keep(Archive(b"tar", "Dockerfile"), {"digest": "d"})
    assert known.find(Archive(b"tar", "Dockerfile")) == {"digest": "d"}
    assert known.find(Archive(b"tar", "other")) is None
    assert known.find(Archive(b"rat", "Dockerfile")) is None
    known.keep(Archive(b"long", ""), {"dockerfile": "x" * (seen._LONGEST + 1)})
    assert known.find(Archive(b"long", "")) is None
    for number in range(seen._MOST):
        known.keep(Archive(b"%d" % number, ""), {})
    assert known.find(Archive(b"tar", "Dockerfile")) is None
