"""Log entries on the wire: frames, timestamps, details."""

from __future__ import annotations

from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from typing import TYPE_CHECKING

from ketch.api.times import rfc3339_fixed
from ketch.engine.containers.logs import LogEntry

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

_STREAMS = {"stdin": 0, "stdout": 1, "stderr": 2}

Writer = Callable[[list[LogEntry]], bytes]


class _Heads(dict[int, bytes]):
    """What stands before a line of a length: ``before``, and the head of a multiplexed frame.

    Stream number, three zeros, big-endian 32-bit length. Made when first used; their number is
    bounded, as a line is cut into pieces of 16 KiB. By way of such tables a line costs a twentieth
    of a microsecond.
    """

    def __init__(self, stream: int, before: bytes = b"") -> None:
        self._before = before + bytes((stream, 0, 0, 0))
        self._more = before.count(b"\n")

    def __missing__(self, length: int) -> bytes:
        head = self._before + (length + self._more).to_bytes(4, "big")
        if len(self) < 64 * 1024:
            self[length] = head
        return head


_HEADS = {name: _Heads(number) for name, number in _STREAMS.items()}
_JOINTS = {name: _Heads(number, b"\n") for name, number in _STREAMS.items()}
"""Between two lines that are given without their newlines; by the length of the second."""


def entry_writer(*, framed: bool, timestamps: bool, details: bool) -> Writer:
    """How to turn entries into bytes: a frame per line, as Docker sends them."""

    def prefix(entry: LogEntry) -> bytes:
        text = rfc3339_fixed(entry.time).encode() + b" " if timestamps else b""
        return text + _details(entry.attrs) if details else text

    def write(entries: list[LogEntry]) -> bytes:
        parts: list[bytes] = []
        for entry in entries:
            heads = _HEADS[entry.stream] if framed else None
            if timestamps or details:
                _prefixed(parts, entry, heads, prefix(entry))
            elif heads is not None and entry.texts:
                parts += (heads[len(entry.texts[0]) + 1], entry.texts[0])
                parts += _interleaved(_JOINTS[entry.stream], entry.texts[1:])
                parts.append(b"\n")
            elif heads is not None:
                parts += _interleaved(heads, entry.lines())
            else:
                parts.append(entry.data)
        return b"".join(parts)

    return write


def _interleaved(heads: _Heads, lines: Sequence[bytes]) -> list[bytes]:
    """Every line behind its head."""
    if len(lines) == 1:
        return [heads[len(lines[0])], lines[0]]
    parts: list[bytes] = [b""] * (2 * len(lines))
    parts[::2] = map(heads.__getitem__, map(len, lines))
    parts[1::2] = lines
    return parts


def _prefixed(parts: list[bytes], entry: LogEntry, heads: _Heads | None, prefix: bytes) -> None:
    """Every line behind a prefix that is part of it."""
    lines = entry.lines()
    if heads is None:
        for line in lines:
            parts += (prefix, line)
        return
    size = len(prefix)
    for line in lines:
        parts += (heads[size + len(line)], prefix, line)


def _details(attrs: Mapping[str, str]) -> bytes:
    return ",".join(f"{name}={attrs[name]}" for name in sorted(attrs)).encode() + b" "


async def send(
    response: StreamResponse, write: Writer, batches: AsyncIterator[list[LogEntry]]
) -> None:
    """Until the source ends; raises ConnectionError when the client is gone."""
    async for entries in batches:
        await response.write(write(entries))
