"""A step's output: stdcopy frames from the shim to messages of the build."""

from __future__ import annotations

import asyncio
import codecs
import socket
from collections.abc import Awaitable, Callable
from struct import Struct

from ketch.build.executor import Emit
from ketch.build.options import BuildOutput

_HEADER = Struct(">BxxxI")
_STDERR = 2
_CHUNK = 1 << 16


async def relay(sock: socket.socket, emit: Emit, room: Callable[[], Awaitable[None]]) -> None:
    """Hand on frames until the other side closes; stderr in red, as the classic builder does.

    The reading waits for ``room``, so a slow client slows the process down and fills no memory.
    """
    loop = asyncio.get_running_loop()
    frames = Frames()
    while chunk := await loop.sock_recv(sock, _CHUNK):
        for stream, text in frames.feed(chunk):
            emit(BuildOutput(stream=f"\x1b[91m{text}\x1b[0m" if stream == _STDERR else text))
        await room()


class Frames:
    """Takes bytes as they come, gives whole frames as text.

    Characters that are split between frames of one stream come out whole.
    """

    def __init__(self) -> None:
        self._rest = b""
        new = codecs.getincrementaldecoder("utf-8")
        self._decoders = {1: new("replace"), _STDERR: new("replace")}

    def feed(self, data: bytes) -> list[tuple[int, str]]:
        """(stream, text) of the frames that are complete now."""
        data = self._rest + data
        found = []
        position = 0
        while position + _HEADER.size <= len(data):
            stream, size = _HEADER.unpack_from(data, position)
            end = position + _HEADER.size + size
            if end > len(data):
                break
            decoder = self._decoders[_STDERR if stream == _STDERR else 1]
            text = decoder.decode(data[position + _HEADER.size : end])
            if text:
                found.append((stream, text))
            position = end
        self._rest = data[position:]
        return found
