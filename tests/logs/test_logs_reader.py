"""Reading, tailing and following logs that a real writer rotates underneath."""

import asyncio
from pathlib import Path

import pytest

from ketch.logs.entries import Entry, Selection, parse_instant
from ketch.logs.jsonfile import JsonFileLog
from ketch.logs.reader import follow, read
from ketch.logs.rfc3339 import format_ns


def texts(path: Path, selection: Selection | None = None) -> list[bytes]:
    return [
        line
        for entries in read(str(path), selection)
        for entry in entries
        for line in entry.lines()
    ]


def write(path: Path, count: int, **options: int) -> None:
    log = JsonFileLog(str(path), **options)
    for number in range(count):
        log.write("stdout", b"%d\n" % number)
    log.close()


def test_a_missing_log_is_empty(tmp_path: Path) -> None:
    assert texts(tmp_path / "none.log") == []


@pytest.mark.parametrize("tail", [0, 1, 2, 20, 99, 100, 101, 5000])
@pytest.mark.parametrize("options", [{}, {"max_size": 1000, "max_file": 50}])
def test_tail_counts_over_rotated_files(tmp_path: Path, tail: int, options: dict[str, int]) -> None:
    path = tmp_path / "x.log"
    write(path, 100, **options)
    expected = [b"%d\n" % number for number in range(100)]
    assert texts(path) == expected
    assert texts(path, Selection(tail=tail)) == (expected[-tail:] if tail else [])


def test_tail_over_chunks(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    write(path, 20_000)
    assert len(texts(path, Selection(tail=15_000))) == 15_000


def test_since_and_until_are_inclusive(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    lines = [
        f'{{"log":"{n}\\n","stream":"stderr","time":"{format_ns(n * 1_500_000_000)}"}}\n'
        for n in range(10)
    ]
    path.write_text("".join(lines))
    at = 1_500_000_000
    assert texts(path, Selection(since=8 * at)) == [b"8\n", b"9\n"]
    assert texts(path, Selection(until=at)) == [b"0\n", b"1\n"]
    assert texts(path, Selection(since=2 * at, until=3 * at, tail=7)) == [b"3\n"]


def test_torn_and_foreign_lines_are_left_out(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    path.write_bytes(b'{"lo\nnull\n{"log":"a","time":"yesterday"}\n')
    write(path, 1)
    assert texts(path) == [b"0\n"]


@pytest.mark.parametrize("instant", [0, 1, 1_500_000_000, 1_700_000_000_123_456_789])
def test_instants(instant: int) -> None:
    assert parse_instant(format_ns(instant)) == instant


@pytest.mark.parametrize("text", ["", "Z", "2026-01-01T00:00:00", "2026-01-01T00:00:00,5Z"])
def test_bad_instants(text: str) -> None:
    with pytest.raises(ValueError, match=r"instant|fraction|match"):
        parse_instant(text)


async def collect(path: Path, ended: asyncio.Event, seen: list[bytes], **options: int) -> None:
    async for entries in follow(str(path), Selection(**options), ended):
        seen.extend(line for entry in entries for line in entry.lines())


@pytest.mark.parametrize("options", [{}, {"max_size": 900, "max_file": 4}])
async def test_follow_sees_everything_through_rotations(
    tmp_path: Path, options: dict[str, int]
) -> None:
    path = tmp_path / "x.log"
    ended = asyncio.Event()
    seen: list[bytes] = []
    async with asyncio.timeout(60):
        task = asyncio.create_task(collect(path, ended, seen))
        await asyncio.sleep(0)
        log = JsonFileLog(str(path), **options)
        for number in range(300):
            log.write("stdout", b"%d\n" % number)
            while len(seen) < number - 20:  # the reader may lag behind by less than the files hold
                await asyncio.sleep(0.001)
        log.write("stdout", b"no newline")
        log.close()
        ended.set()
        await task
    assert seen == [b"%d\n" % number for number in range(300)] + [b"no newline"]


async def test_follow_of_one_file_begun_anew(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    ended = asyncio.Event()
    seen: list[bytes] = []
    log = JsonFileLog(str(path), max_size=500, max_file=1)
    async with asyncio.timeout(60):
        task = asyncio.create_task(collect(path, ended, seen, tail=0))
        for number in range(50):
            while len(seen) < number - 2:
                await asyncio.sleep(0.001)
            await asyncio.sleep(0)
            log.write("stdout", b"%d\n" % number)
        log.close()
        ended.set()
        await task
    assert seen[-1] == b"49\n"
    assert seen == sorted(seen, key=int)


async def test_follow_ends_at_until(tmp_path: Path) -> None:
    path = tmp_path / "x.log"
    write(path, 3)
    last: Entry = next(read(str(path)))[-1]
    seen: list[bytes] = []
    async with asyncio.timeout(60):
        await collect(path, asyncio.Event(), seen, until=last.time)
    assert seen == [b"0\n", b"1\n", b"2\n"]
