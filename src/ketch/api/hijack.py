"""Taking a client's connection out of HTTP, for attach and exec.

After the head of the answer the connection carries raw stdio. The socket itself is handed to the
process that owns the stdio, so no byte of output passes the daemon: the descriptor is duplicated
and aiohttp's transport is closed, which closes *its* descriptor without a shutdown(2). TLS clients
arrive here as plain sockets, since whoever listens decrypts in front of the API.
"""

from __future__ import annotations

import asyncio
import fcntl
import socket
import sys
import termios
import time
from typing import TYPE_CHECKING, NamedTuple

from aiohttp.abc import AbstractStreamWriter
from aiohttp.web_response import StreamResponse

from ketch.api.responses import HEADERS
from ketch.errors import Cancelled

if TYPE_CHECKING:
    from aiohttp.web_request import BaseRequest

    from ketch.api.call import Call

MULTIPLEXED = "application/vnd.docker.multiplexed-stream"
RAW = "application/vnd.docker.raw-stream"
_LOSES_WHAT_COMES_WITH_THE_HEAD = "docker-sdk-python/"  # it leaves that in a buffer of its own
_HEAD_PATIENCE = 1.0  # seconds


class Taken(NamedTuple):
    """The connection: its socket, and what the client had sent behind the request."""

    sock: socket.socket
    read_ahead: bytes


class Hijacked(StreamResponse):
    """What a handler returns when the connection is no longer HTTP: nothing is written."""

    def __init__(self) -> None:
        super().__init__(status=101)
        self.force_close()

    async def prepare(self, request: BaseRequest) -> AbstractStreamWriter | None:
        """The head was written by ``take``."""
        return None

    async def write_eof(self, data: bytes = b"") -> None:
        """The stream has another owner."""

    @property
    def prepared(self) -> bool:
        """True: nothing may be added to it."""
        return True


def content_type(call: Call, framed: bool) -> str:
    """Multiplexed frames have a type of their own since API 1.42."""
    return MULTIPLEXED if framed and call.version >= (1, 42) else RAW


async def take(call: Call, kind: str) -> Taken:
    """Write the head of the answer and take the connection; ``kind`` is its Content-Type.

    Raises ``Cancelled`` when the client is gone already.
    """
    return await _take(call, _head(call, kind))


async def take_for(call: Call, protocol: str) -> Taken:
    """The same for a client that asked for another protocol by ``Upgrade``."""
    lines = ["HTTP/1.1 101 UPGRADED", "Connection: Upgrade", f"Upgrade: {protocol}"]
    return await _take(call, ("\r\n".join(lines) + "\r\n\r\n").encode())


async def _take(call: Call, head: bytes) -> Taken:
    transport = call.request.transport
    if transport is None or transport.is_closing():
        raise Cancelled("the client closed the connection before it was answered")
    sock = _duplicate(transport.get_extra_info("socket"))  # may fail: before anything is said
    try:
        transport.pause_reading()
        tail = call.connection.take_held()
        transport.set_write_buffer_limits(high=0)
        transport.write(head)
        await call.connection.flushed()
    except BaseException:
        sock.close()
        raise
    taken = Taken(sock, tail)
    transport.close()
    if call.request.headers.get("User-Agent", "").startswith(_LOSES_WHAT_COMES_WITH_THE_HEAD):
        await _until_read(taken.sock)
    return taken


async def _until_read(sock: socket.socket) -> None:
    """Wait, not for long, until the client has taken everything (unix(7), SIOCOUTQ).

    Over TCP that cannot be known.
    """
    until = time.monotonic() + _HEAD_PATIENCE
    while sock.family == socket.AF_UNIX and time.monotonic() < until:
        waiting = fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))  # the same number
        if not int.from_bytes(waiting, sys.byteorder):
            return
        await asyncio.sleep(0.0005)


def _head(call: Call, kind: str) -> bytes:
    upgraded = call.request.headers.get("Upgrade", "").lower() == "tcp"
    lines = ["HTTP/1.1 101 UPGRADED" if upgraded else "HTTP/1.1 200 OK", f"Content-Type: {kind}"]
    if upgraded:
        lines += ["Connection: Upgrade", "Upgrade: tcp"]
    lines += [f"{name}: {value}" for name, value in HEADERS.items()]
    return ("\r\n".join(lines) + "\r\n\r\n").encode()


def _duplicate(sock: socket.socket) -> socket.socket:
    return socket.socket(sock.family, sock.type, sock.proto, fileno=socket.dup(sock.fileno()))
