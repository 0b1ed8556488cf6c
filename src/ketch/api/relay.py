"""Bytes between a TLS connection and a socketpair, with half-close and back pressure.

Only for hijacked connections over TLS, where the stdio's owner can't be given the socket itself.
"""

from __future__ import annotations

import asyncio
import socket


class _Inward(asyncio.Protocol):
    """The client's side: what it sends goes to the pair; its pace follows the pair's."""

    def __init__(self, client: asyncio.Transport, tail: bytes) -> None:
        self._client = client
        self._tail = tail
        self._pair: asyncio.Transport | None = None

    def joined(self, pair: asyncio.Transport) -> None:
        """The other side stands: let bytes flow."""
        self._pair = pair
        if self._tail:
            pair.write(self._tail)
        self._client.resume_reading()

    def data_received(self, data: bytes) -> None:
        if self._pair is not None:
            self._pair.write(data)

    def eof_received(self) -> bool:
        if self._pair is not None and self._pair.can_write_eof():
            self._pair.write_eof()
        return True

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._pair is not None:
            self._pair.close()

    def pause_writing(self) -> None:
        if self._pair is not None:
            self._pair.pause_reading()

    def resume_writing(self) -> None:
        if self._pair is not None:
            self._pair.resume_reading()


class _Outward(asyncio.Protocol):
    """The pair's side: what the stdio's owner sends goes to the client."""

    def __init__(self, client: asyncio.Transport) -> None:
        self._client = client

    def data_received(self, data: bytes) -> None:
        self._client.write(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        self._client.close()

    def pause_writing(self) -> None:
        if not self._client.is_closing():
            self._client.pause_reading()

    def resume_writing(self) -> None:
        if not self._client.is_closing():
            self._client.resume_reading()


def start_relay(client: asyncio.Transport, tail: bytes) -> socket.socket:
    """Take ``client`` over from its protocol; returns the end for the stdio's owner.

    The old protocol is told that its connection is lost. Reading must be paused.
    """
    ours, theirs = socket.socketpair()
    ours.setblocking(False)
    old = client.get_protocol()
    inward = _Inward(client, tail)
    client.set_protocol(inward)
    old.transport = None  # type: ignore[attr-defined]  # else it would close what is ours now
    old.connection_lost(None)
    task = asyncio.ensure_future(_join(client, inward, ours))
    task.add_done_callback(lambda done: _joined(done, client))
    return theirs


async def _join(client: asyncio.Transport, inward: _Inward, ours: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    pair, _ = await loop.create_connection(lambda: _Outward(client), sock=ours)
    inward.joined(pair)


def _joined(task: asyncio.Task[None], client: asyncio.Transport) -> None:
    if task.cancelled() or task.exception() is not None:
        client.close()
