"""A step's output: stdcopy frames from the shim to the build's progress."""

from __future__ import annotations

import asyncio
import codecs
import socket
from collections.abc import Awaitable, Callable
from struct import Struct

from ketch.build.progress.events import STDERR, STDOUT, Report

_HEADER = Struct(">BxxxI")
_CHUNK = 1 << 16


async def relay(sock: socket.socket, report: Report, room: Callable[[], Awaitable[None]]) -> None:
    """Hand on frames until the other side closes.

    The reading waits for ``room``, so a slow client slows the process down and fills no memory.
    """
    loop = asyncio.get_running_loop()
    frames = Frames()
    while chunk := await loop.sock_recv(sock, _CHUNK):
        for stream, text in frames.feed(chunk):
            report.output(stream, text)
        await room()
    for stream, text in frames.rest():
        report.output(stream, text)


class RawFrames:
    """Takes bytes as they come, gives whole frames."""

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[tuple[int, bytes]]:
        """(stream, bytes) of the frames that are complete now."""
        data = self._rest + data
        found = []
        position = 0
        while position + _HEADER.size <= len(data):
            stream, size = _HEADER.unpack_from(data, position)
            end = position + _HEADER.size + size
            if end > len(data):
                break
            whole = data[position + _HEADER.size : end]
            found.append((STDERR if stream == STDERR else STDOUT, whole))
            position = end
        self._rest = data[position:]
        return found


class Frames:
    """Takes bytes as they come, gives whole frames as text.

    Characters that are split between frames of one stream come out whole.
    """

    def __init__(self) -> None:
        self._raw = RawFrames()
        new = codecs.getincrementaldecoder("utf-8")
        self._decoders = {STDOUT: new("replace"), STDERR: new("replace")}

    def feed(self, data: bytes) -> list[tuple[int, str]]:
        """(stream, text) of the frames that are complete now."""
        texts = [(n, self._decoders[n].decode(whole)) for n, whole in self._raw.feed(data)]
        return [(stream, text) for stream, text in texts if text]

    def rest(self) -> list[tuple[int, str]]:
        """At the end: characters that were begun and stay without their end."""
        ends = {stream: decoder.decode(b"", True) for stream, decoder in self._decoders.items()}
        return [(stream, text) for stream, text in ends.items() if text]
