"""Log entries on the wire: frames, timestamps, details."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from typing import TYPE_CHECKING

from ketch.api.times import rfc3339
from ketch.engine.model import LogEntry

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}
_BATCH = 64 * 1024

Writer = Callable[[LogEntry], bytes]


def frame(stream: int, payload: bytes) -> bytes:
    """The multiplexed form: stream number, three zeros, big-endian 32-bit length, payload."""
    return bytes((stream, 0, 0, 0)) + len(payload).to_bytes(4, "big") + payload


def entry_writer(*, framed: bool, timestamps: bool, details: bool) -> Writer:
    """How to turn one entry into bytes."""

    def write(entry: LogEntry) -> bytes:
        data = entry.data
        if details:
            data = _details(entry.attrs) + data
        if timestamps:
            data = rfc3339(entry.time).encode() + b" " + data
        return frame(_STREAMS.get(entry.stream, 1), data) if framed else data

    return write


def _details(attrs: dict[str, str]) -> bytes:
    return ",".join(f"{name}={attrs[name]}" for name in sorted(attrs)).encode() + b" "


class LogSender:
    """Writes entries in large pieces while they come fast, and at once when they come alone.

    A piece is written when it is large, or as soon as the source of entries lets the event loop
    run; a task per entry would cost more than the entry itself.
    """

    def __init__(self, response: StreamResponse, write: Writer) -> None:
        self._response = response
        self._write = write
        self._pending: list[bytes] = []
        self._size = 0
        self._lock = asyncio.Lock()
        self._flusher: asyncio.Task[None] | None = None

    async def send(self, entries: AsyncIterator[LogEntry]) -> None:
        """Until the source ends; raises ConnectionError when the client is gone."""
        try:
            async for entry in entries:
                await self._add(self._write(entry))
            await self._flush()
        finally:
            if self._flusher is not None:
                self._flusher.cancel()

    async def _add(self, data: bytes) -> None:
        self._pending.append(data)
        self._size += len(data)
        if self._size >= _BATCH:
            await self._flush()
        elif self._flusher is None or self._flusher.done():
            self._raise_failure()
            self._flusher = asyncio.ensure_future(self._flush())

    def _raise_failure(self) -> None:
        if self._flusher is not None:
            self._flusher.result()

    async def _flush(self) -> None:
        async with self._lock:
            data, self._pending, self._size = b"".join(self._pending), [], 0
            if data:
                await self._response.write(data)
