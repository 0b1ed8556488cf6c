"""The small parts of the engine's builder: frames, channel, cache, downloads, floor."""

from __future__ import annotations

import asyncio
import gzip
import io
import struct
import tarfile
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from aiohttp import web
from hypothesis import given
from hypothesis import strategies as st

from ketch.build.dockerfile.durations import format_duration, parse_duration
from ketch.build.dockerfile.quoting import go_quote, go_quote_rune
from ketch.build.executor import CacheEntry
from ketch.build.progress.events import Note
from ketch.engine.builder.cache.records import BuildCache
from ketch.engine.builder.channel import Channel
from ketch.engine.builder.contexts.downloads import KeptDownloads
from ketch.engine.builder.steps import floor as builder_floor
from ketch.engine.builder.steps.output import Frames
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
    of_steps, data = builder_floor.archive(step=True)
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        assert {"etc/hosts", "proc"} < set(tar.getnames())
        assert not {".dockerenv", "etc/hostname", "etc/mtab"} & set(tar.getnames())
    assert of_steps != digest


@pytest.fixture
async def server() -> AsyncIterator[str]:
    """Says what it was asked for, with the status that the path begins with."""

    async def answer(request: web.Request) -> web.StreamResponse:
        status, _, name = request.raw_path.strip("/").partition("/")
        headers = {"Last-Modified": "Thu, 01 Jan 1970 00:01:00 GMT"}
        if status in ("302", "307"):
            headers["Location"] = {"loop": request.raw_path, "file": "file:///etc/passwd"}[name]
        if name == "cut":
            response = web.StreamResponse(headers={"Content-Length": "1000"})
            await response.prepare(request)
            await response.write(b"x")
            assert request.transport is not None
            request.transport.close()
            return response
        body = b"" if status == "204" else request.raw_path.encode()
        if name.startswith("gzip"):
            headers["Content-Encoding"] = "gzip"
            body = body if name == "gzip-not" else gzip.compress(body)
        return web.Response(status=int(status), body=body, headers=headers)

    app = web.Application()
    app.router.add_get("/{name:.*}", answer)
    runner = web.AppRunner(app)
    await runner.setup()
    site = web.TCPSite(runner, "127.0.0.1", 0)
    await site.start()
    port = runner.addresses[0][1]
    yield f"http://127.0.0.1:{port}"
    await runner.cleanup()


async def fetch(url: str, path: str) -> str:
    """With nothing kept."""
    with tempfile.TemporaryDirectory() as folder:
        kept = KeptDownloads(Database(f"{folder}/db"), folder)
        kept.start()
        return await kept.fetch(url, path)


async def test_fetch(server: str, tmp_path: Path) -> None:
    path = tmp_path / "x"
    await fetch(f"{server}/200/x", str(path))
    assert path.read_bytes() == b"/200/x"
    assert path.stat().st_mtime == 60
    assert path.stat().st_mode & 0o777 == 0o600


@pytest.mark.parametrize(
    ("asked", "body"),
    [
        ("/201/x", "/201/x"),
        ("/204/x", ""),
        ("/200/gzip", "/200/gzip"),
        ("/200/a[1]?b=/c&d=[2]#e", "/200/a[1]?b=/c&d=[2]"),
        ("/200/%2e%2e/a%2Fb", "/200/%2e%2e/a%2Fb"),
        ("/200/a b|ü", "/200/a%20b%7C%C3%BC"),
    ],
)
async def test_what_is_fetched(server: str, tmp_path: Path, asked: str, body: str) -> None:
    """As BuildKit: what is written is asked for; what is compressed for its way is not kept so."""
    await fetch(f"{server}{asked}", str(tmp_path / "x"))
    assert (tmp_path / "x").read_text() == body


@pytest.mark.parametrize(
    ("asked", "words"),
    [
        ("SERVER/404/x", "with status 404 Not Found"),
        ("SERVER/304/x", "with status 304 Not Modified"),
        ("SERVER/302/loop", "stopped after 10 redirects"),
        ("SERVER/302/file", "leads to file:///etc/passwd, which is no URL of http"),
        ("SERVER/200/cut", "is cut short"),
        ("SERVER/200/gzip-not", "not compressed as its headers say"),
        ("http://127.0.0.1:1/", "127.0.0.1:1: Connection refused"),
        ("http://127.0.0.1:0/", "ports go from 1 to 65535"),
        ("http://127.0.0.1:70000/", "Port out of range"),
        ("http:///x", "there is no host in it"),
    ],
)
async def test_fetch_failures(server: str, tmp_path: Path, asked: str, words: str) -> None:
    with pytest.raises(KetchError, match="failed to GET") as caught:
        await fetch(asked.replace("SERVER", server), str(tmp_path / "x"))
    assert words in str(caught.value)


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


@pytest.mark.parametrize(
    ("code", "quoted"),
    [
        (0, r"'\x00'"), (3, r"'\x03'"), (9, r"'\t'"), (34, "'\"'"), (39, r"'\''"), (92, r"'\\'"),
        (100, "'d'"), (0xD800, "'\ufffd'"), (10**9, "'\ufffd'"),
    ],
)  # fmt: skip
def test_numbers_quoted_as_go_quotes_them(code: int, quoted: str) -> None:
    """As the history of an image tells the retries of HEALTHCHECK."""
    assert go_quote_rune(code) == quoted
