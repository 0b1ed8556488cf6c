"""The engine's end of a connection: what becomes of requests when the other side goes."""

from __future__ import annotations

import asyncio
import socket

import pytest

from ketch.errors import Unavailable
from ketch.runtime import wire


def connected() -> tuple[wire.Connection, socket.socket]:
    """A connection, and the other side of it."""
    ours, theirs = wire.pair()
    return wire.Connection(ours, "the other side", lambda _: None, lambda: None), theirs


async def test_what_was_not_sent_is_told_apart() -> None:
    connection, theirs = connected()
    theirs.close()
    with pytest.raises(wire.Unsent, match="the other side is gone"):
        await connection.request({"op": "hello"})
    with pytest.raises(wire.Unsent):
        await connection.post({"op": "hello"})


async def test_what_was_sent_may_have_been_seen() -> None:
    connection, theirs = connected()
    asking = asyncio.create_task(connection.request({"op": "hello"}))
    await asyncio.sleep(0)
    theirs.close()
    with pytest.raises(Unavailable) as caught:
        await asking
    assert not isinstance(caught.value, wire.Unsent)


async def test_who_waits_for_room_is_told_of_the_end() -> None:
    connection, theirs = connected()

    async def flood() -> None:
        while True:
            await connection.post({"op": "x" * 30_000})

    flooding = asyncio.create_task(flood())
    await asyncio.sleep(0.05)
    assert not flooding.done()
    theirs.close()
    with pytest.raises(wire.Unsent):
        await asyncio.wait_for(flooding, 20)
