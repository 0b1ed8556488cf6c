"""The small parts of the engine's builder: frames, channel, cache, downloads, floor."""

from __future__ import annotations

import asyncio
import io
import struct
import tarfile
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from ketch.build.durations import format_duration, parse_duration
from ketch.build.executor import CacheEntry
from ketch.build.progress import Note
from ketch.build.quoting import go_quote
from ketch.engine.builder import floor as builder_floor
from ketch.engine.builder.cache import BuildCache
from ketch.engine.builder.channel import Channel
from ketch.engine.builder.fetch import fetch
from ketch.engine.builder.output import Frames
from ketch.errors import KetchError
from ketch.state.database import Database


def frame(stream: int, data: bytes) -> bytes:
    return struct.pack(">BxxxI", stream, len(data)) + data


@given(
    st.lists(st.tuples(st.sampled_from([1, 2]), st.text(max_size=8)), max_size=6),
    st.integers(1, 9),
)
def test_frames_in_any_pieces(parts: list[tuple[int, str]], size: int) -> None:
    data = b"".join(frame(stream, text.encode("utf-8", "replace")) for stream, text in parts)
    frames = Frames()
    got = [out for at in range(0, len(data), size) for out in frames.feed(data[at : at + size])]
    for wanted in (1, 2):
        expected = "".join(t.encode("utf-8", "replace").decode() for s, t in parts if s == wanted)
        assert "".join(text for stream, text in got if stream == wanted) == expected


def test_output_that_ends_in_the_middle_of_a_character() -> None:
    frames = Frames()
    assert frames.feed(frame(2, b"a\xc3")) == [(2, "a")]
    assert frames.rest() == [(2, "\ufffd")]
    assert frames.rest() == []


def test_a_character_split_between_frames() -> None:
    one, two = "가".encode()[:1], "가".encode()[1:]
    frames = Frames()
    assert frames.feed(frame(1, one)) == []
    assert frames.feed(frame(2, b"x") + frame(1, two)) == [(2, "x"), (1, "가")]


async def test_channel_keeps_order_and_makes_wait() -> None:
    channel = Channel()
    for number in range(300):
        channel.put(Note("", str(number)))
    waiting = asyncio.create_task(channel.room())
    await asyncio.sleep(0)
    assert not waiting.done()
    got = await channel.get()
    await waiting
    channel.put(Note("", "300"))
    got += await channel.get()
    channel.close()
    assert await channel.get() == []
    assert [event.text for event in got if isinstance(event, Note)] == [str(n) for n in range(301)]


def test_cache_survives_and_is_pruned(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "db"))
    cache = BuildCache(database)
    cache.put("k", CacheEntry("sha256:1", "2026"))
    cache.put("n", CacheEntry("", "2026"))
    again = BuildCache(database)
    assert again.get("k") == CacheEntry("sha256:1", "2026")
    assert list(again.layers()) == ["sha256:1"]
    again.forget(["k"])
    assert BuildCache(database).get("k") is None
    database.close()


def test_floor_is_always_the_same() -> None:
    digest, data = builder_floor.archive()
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert "etc/hosts" in tar.getnames()
        assert {member.mtime for member in tar.getmembers()} == {0}
    assert builder_floor.archive()[0] == digest


@pytest.fixture
async def server() -> str:  # type: ignore[misc]
    async def answer(request: web.Request) -> web.Response:
        if request.path == "/missing":
            raise web.HTTPNotFound
        headers = {"Last-Modified": "Thu, 01 Jan 1970 00:01:00 GMT", "Content-Encoding": "gzip"}
        return web.Response(body=b"\x1f\x8bdata", headers=headers)

    app = web.Application()
    app.router.add_get("/{name}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def test_fetch(server: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    await fetch(f"{server}/x", str(path))
    assert path.read_bytes() == b"\x1f\x8bdata"
    assert path.stat().st_mtime == 60
    assert path.stat().st_mode & 0o777 == 0o600


async def test_fetch_failures(server: str, tmp_path: Path) -> None:
    with pytest.raises(KetchError, match="404 Not Found"):
        await fetch(f"{server}/missing", str(tmp_path / "x"))
    with pytest.raises(KetchError, match="failed to GET"):
        await fetch("http://127.0.0.1:1/", str(tmp_path / "y"))


@pytest.mark.parametrize(
    ("text", "value"),
    [
        ("1s", 10**9),
        ("1m30s", 90 * 10**9),
        ("1.5s", 15 * 10**8),
        ("2h0m0s", 7200 * 10**9),
        ("500ms", 5 * 10**8),
        ("1.5µs", 1500),
        ("7ns", 7),
        ("0", 0),
    ],
)
def test_durations(text: str, value: int) -> None:
    assert parse_duration(text) == value


@given(st.integers(0, 2**62))
def test_durations_round_trip(value: int) -> None:
    assert parse_duration(format_duration(value)) == value


@pytest.mark.parametrize(
    ("text", "quoted"),
    [("a", '"a"'), ('"', '"\\""'), ("\\", '"\\\\"'), ("\n\x01", '"\\n\\x01"'), ("가", '"가"')],
)
def test_quoting(text: str, quoted: str) -> None:
    assert go_quote(text) == quoted
