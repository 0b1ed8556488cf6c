"""What ADD fetched is asked for by its ETag the next time (``engine.builder.downloads``)."""

from __future__ import annotations

import os
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any

import pytest
from aiohttp import web

from ketch.engine.builder.cache.records import DOWNLOAD
from ketch.engine.builder.contexts.downloads import KeptDownloads
from ketch.state.database import Database


class Server:
    """One file; ``asked`` are the conditions of requests, ``sent`` counts bodies."""

    def __init__(self) -> None:
        self.body, self.headers = b"first", {"ETag": '"1"'}
        self.asked: list[str] = []
        self.sent = 0
        self.url = ""

    async def answer(self, request: web.Request) -> web.Response:
        condition = request.headers.get("If-None-Match", "")
        self.asked.append(condition)
        headers = {**self.headers, "Last-Modified": "Thu, 01 Jan 1970 00:01:00 GMT"}
        if condition and condition == self.headers.get("ETag"):
            return web.Response(status=304, headers=headers)
        self.sent += 1
        return web.Response(body=self.body, headers=headers)


@pytest.fixture
async def server() -> AsyncIterator[Server]:
    found = Server()
    app = web.Application()
    app.router.add_get("/{name:.*}", found.answer)
    runner = web.AppRunner(app)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    found.url = f"http://user:secret@127.0.0.1:{runner.addresses[0][1]}/f?token=secret"
    yield found
    await runner.cleanup()


@pytest.fixture
def downloads(tmp_path: Path) -> KeptDownloads:
    return opened(tmp_path)


def opened(folder: Path) -> KeptDownloads:
    found = KeptDownloads(Database(f"{folder}/db"), str(folder))
    found.start()
    return found


async def fetched(downloads: KeptDownloads, server: Server, path: Path) -> bytes:
    """As a build does, which deletes its file."""
    await downloads.fetch(server.url, str(path))
    assert (path.stat().st_mtime, path.stat().st_mode & 0o777) == (60, 0o600)
    data = path.read_bytes()
    path.unlink()
    return data


async def test_what_did_not_change_is_not_sent_again(
    server: Server, downloads: KeptDownloads, tmp_path: Path
) -> None:
    file = tmp_path / "x"
    for _ in range(2):
        assert await fetched(downloads, server, file) == b"first"
    after = opened(tmp_path)  # of the next daemon
    assert await fetched(after, server, file) == b"first"
    assert (server.sent, server.asked) == (1, ["", '"1"', '"1"'])
    server.body, server.headers = b"second", {"ETag": '"2"'}
    assert await fetched(after, server, file) == b"second"
    assert await fetched(after, server, file) == b"second"
    assert server.sent == 2
    (record,) = after.usage()
    assert (record.type, record.size, record.uses) == (DOWNLOAD, 6, 2)
    assert "secret" not in record.description
    after.drop([record.key, "another"])
    assert (after.usage(), os.listdir(tmp_path / "build-downloads")) == ([], [])
    assert await fetched(after, server, file) == b"second"
    assert (server.sent, server.asked[-1]) == (3, "")


@pytest.mark.parametrize("headers", [{}, {"ETag": '"1"', "Cache-Control": "private, No-Store"}])
async def test_what_is_not_kept(
    server: Server, downloads: KeptDownloads, tmp_path: Path, headers: dict[str, str]
) -> None:
    server.headers = headers
    for body in (b"one", b"two"):
        server.body = body
        assert await fetched(downloads, server, tmp_path / "x") == body
    assert (downloads.usage(), server.asked) == ([], ["", ""])


@pytest.mark.parametrize("damage", [lambda file: file.write_bytes(b"fi"), Path.unlink])
async def test_a_damaged_file_is_fetched_again(
    server: Server, downloads: KeptDownloads, tmp_path: Path, damage: Any
) -> None:
    await fetched(downloads, server, tmp_path / "x")
    (kept,) = (tmp_path / "build-downloads").iterdir()
    damage(kept)
    assert await fetched(downloads, server, tmp_path / "x") == b"first"
    assert server.sent == 2
    await fetched(downloads, server, tmp_path / "x")
    assert server.sent == 2


async def test_bounds_and_what_a_killed_daemon_left(
    server: Server, downloads: KeptDownloads, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fetched(downloads, server, tmp_path / "x")
    (tmp_path / "build-downloads/half").write_bytes(b"x")
    again = opened(tmp_path)
    assert len(os.listdir(tmp_path / "build-downloads")) == len(again.usage()) == 1
    monkeypatch.setattr(again, "most", 8)
    server.url += "&more"
    await fetched(again, server, tmp_path / "x")
    assert [record.size for record in again.usage()] == [5]  # the older one went
    server.body, server.headers = b"too large", {"ETag": '"2"'}
    await fetched(again, server, tmp_path / "x")
    assert again.usage() == []
