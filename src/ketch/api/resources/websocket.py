"""Attach over a WebSocket (RFC 6455), for browsers and what speaks like them.

The daemon relays: frames must be made of the bytes, which the container's supervisor does not do.
"""

from __future__ import annotations

import asyncio
import socket
from typing import TYPE_CHECKING

from aiohttp import WSMsgType
from aiohttp.web_ws import WebSocketResponse

from ketch.api.resources.container_io import detach_keys
from ketch.engine.containers.attach_options import AttachOptions
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call

_CHUNK = 64 * 1024
_LARGEST = 4 * 1024 * 1024  # bytes of one message; a terminal's are small


async def attach(call: Call) -> StreamResponse:
    """GET /containers/{id}/attach/ws: raw bytes in binary frames, both streams as they come.

    Text and binary frames of the client go to stdin.
    """
    if call.request.headers.get("Upgrade", "").lower() != "websocket":
        raise InvalidParameter("attach/ws needs a WebSocket handshake (Upgrade: websocket)")
    containers = call.engine.containers
    keys = detach_keys(call.text("detachKeys"))
    await containers.check_attach(call.id)
    record = await containers.get(call.id)
    client = WebSocketResponse(max_msg_size=_LARGEST, compress=False)
    await client.prepare(call.request)
    ours, theirs = socket.socketpair()
    options = AttachOptions(
        sock=theirs,
        stdin=call.flag("stdin"),
        stdout=call.flag("stdout"),
        stderr=call.flag("stderr"),
        stream=call.flag("stream"),
        logs=call.flag("logs"),
        framed=False,
        detach_keys=keys,
    )
    with ours:
        ours.setblocking(False)
        await _relay(client, ours, asyncio.ensure_future(containers.attach(record.id, options)))
    return client


async def _relay(client: WebSocketResponse, ours: socket.socket, attaching: object) -> None:
    """Until the container's side or the client ends; ``attaching`` may still replay logs."""
    assert isinstance(attaching, asyncio.Future)
    typing = asyncio.ensure_future(_take_input(client, ours))
    output = asyncio.ensure_future(_send_output(client, ours))
    try:
        await asyncio.wait({typing, output}, return_when=asyncio.FIRST_COMPLETED)
    finally:
        tasks = (typing, output, attaching)
        for task in tasks:
            task.cancel()
        await asyncio.gather(*tasks, return_exceptions=True)
    await client.close()


async def _send_output(client: WebSocketResponse, ours: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    while data := await loop.sock_recv(ours, _CHUNK):
        await client.send_bytes(data)


async def _take_input(client: WebSocketResponse, ours: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    async for message in client:
        if message.type in (WSMsgType.TEXT, WSMsgType.BINARY):
            data = message.data
            await loop.sock_sendall(ours, data.encode() if isinstance(data, str) else data)
