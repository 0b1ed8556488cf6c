"""A raw HTTP client: what is on the wire is what is tested."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import Any

import msgspec


class Answer:
    """One HTTP answer as read from the wire."""

    def __init__(self, status: int, reason: str, headers: dict[str, str], body: bytes) -> None:
        self.status, self.reason, self.headers, self.body = status, reason, headers, body

    @property
    def json(self) -> Any:
        return msgspec.json.decode(self.body)

    @property
    def message(self) -> str:
        return str(self.json["message"])


class Client:
    """One connection."""

    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader, self.writer = reader, writer

    async def send(self, method: str, path: str, body: bytes = b"", **headers: str) -> None:
        lines = [f"{method} {path} HTTP/1.1", "Host: ketch"]
        lines += [f"{name.replace('_', '-')}: {value}" for name, value in headers.items()]
        if body or method in ("POST", "PUT"):
            lines.append(f"Content-Length: {len(body)}")
        self.writer.write("\r\n".join(lines).encode() + b"\r\n\r\n" + body)
        await self.writer.drain()

    async def head(self) -> Answer:
        """Status and headers only."""
        text = (await self.reader.readuntil(b"\r\n\r\n")).decode()
        first, *rest = text.strip().split("\r\n")
        _, status, reason = first.split(" ", 2)
        headers = dict(line.split(": ", 1) for line in rest)
        return Answer(int(status), reason, headers, b"")

    async def answer(self, method: str = "GET") -> Answer:
        found = await self.head()
        if found.headers.get("Transfer-Encoding") == "chunked":
            found.body = b"".join([chunk async for chunk in self.chunks()])
        elif method != "HEAD" and found.status not in (204, 304):
            found.body = await self.reader.readexactly(int(found.headers["Content-Length"]))
        return found

    async def chunks(self) -> AsyncIterator[bytes]:
        while size := int(await self.reader.readline(), 16):
            chunk = await self.reader.readexactly(size + 2)
            yield chunk[:-2]
        await self.reader.readline()

    async def ask(self, method: str, path: str, body: Any = None, **headers: str) -> Answer:
        data = body if isinstance(body, bytes) else b""
        if body is not None and not isinstance(body, bytes):
            data = msgspec.json.encode(body)
            headers.setdefault("Content_Type", "application/json")
        await self.send(method, path, data, **headers)
        return await asyncio.wait_for(self.answer(method), 60)
