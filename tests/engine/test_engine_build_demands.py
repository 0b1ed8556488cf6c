"""What a build asks of a client with a large context, and clients that do not answer."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator

import pytest

from ketch.engine.builder.contexts import demands as module
from ketch.engine.builder.contexts.demands import Demands
from ketch.errors import Conflict, NotFound, Unavailable


async def pieces(*data: bytes) -> AsyncIterator[bytes]:
    for one in data:
        yield one


async def brought(demands: Demands, name: str, *paths: str) -> bytes:
    return b"".join([piece async for piece in demands.bring(name, frozenset(paths))])


async def test_a_demand_is_answered_once() -> None:
    demands = Demands()
    wanted = asyncio.create_task(brought(demands, "x", "b", "a"))
    listening = demands.listen()
    demand = await anext(listening)
    assert demand == (0, "x", ("a", "b"))
    with pytest.raises(NotFound):
        await demands.answer(1, pieces())
    await demands.answer(0, pieces(b"1", b"2"))
    assert await wanted == b"12"
    with pytest.raises(NotFound):
        await demands.answer(0, pieces())
    with pytest.raises(Conflict):
        await anext(demands.listen())
    demands.close()
    assert [one async for one in listening] == []


async def test_a_client_that_stops_listening_fails_the_build() -> None:
    demands = Demands()
    wanted = asyncio.create_task(brought(demands, "", "."))
    listening = demands.listen()
    await anext(listening)
    await listening.aclose()  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="went away"):
        await wanted


async def test_a_client_that_went_before_the_next_demand() -> None:
    demands = Demands()
    wanted = asyncio.create_task(brought(demands, "", "."))
    listening = demands.listen()
    await anext(listening)
    await demands.answer(0, pieces())
    await wanted
    await listening.aclose()  # type: ignore[attr-defined]
    with pytest.raises(Unavailable, match="went away"):
        await brought(demands, "", ".")


async def test_a_client_that_breaks_off() -> None:
    async def broken() -> AsyncIterator[bytes]:
        yield b"1"
        raise ConnectionResetError

    demands = Demands()
    wanted = asyncio.create_task(brought(demands, "", "."))
    await anext(demands.listen())
    await demands.answer(0, broken())
    with pytest.raises(Unavailable, match="went away"):
        await wanted


async def test_a_client_that_never_listens(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(module, "_PATIENCE", 0.001)
    with pytest.raises(Unavailable, match="does not listen"):
        await brought(Demands(), "", ".")
