"""What builds tell and write once when all of it happens within a moment."""

from __future__ import annotations

import asyncio
from pathlib import Path

import pytest

from ketch.build.progress.events import Note
from ketch.build.request.options import BuildOptions
from ketch.engine.builder.channel import _ROOM, Channel
from ketch.engine.builder.history import records as histories
from ketch.engine.builder.history.records import COMPLETED, MOST, BuildHistory
from ketch.state.database import Database

EVENT = Note("sha256:d", "a line\n")


async def test_events_of_a_moment_come_together() -> None:
    channel = Channel()
    channel.put(EVENT)
    reading = asyncio.ensure_future(channel.get())
    await asyncio.sleep(0)
    channel.put(EVENT)
    assert await reading == [EVENT, EVENT]
    assert not channel.closed


async def test_the_end_is_told_at_once_with_what_was_before() -> None:
    channel = Channel()
    channel.put(EVENT)
    reading = asyncio.ensure_future(channel.get())
    await asyncio.sleep(0)
    channel.close()
    assert await reading == [EVENT]
    assert channel.closed
    assert await channel.get() == []


async def test_many_events_wait_for_no_moment() -> None:
    channel = Channel()
    for _ in range(_ROOM + 1):
        channel.put(EVENT)
    async with asyncio.timeout(None) as limit:
        limit.reschedule(asyncio.get_running_loop().time())  # passes at the first wait
        assert len(await channel.get()) == _ROOM + 1


async def test_a_build_of_a_moment_is_written_when_it_is_over(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "ketch.db"))
    history = BuildHistory(database)
    recording = history.begin(BuildOptions())
    assert [record.ref for record in history.all()] == [recording.record.ref]
    assert BuildHistory(database).all() == []
    recording.end(COMPLETED, image="sha256:i")
    assert BuildHistory(database).all() == [recording.record]


async def test_a_build_that_takes_longer_is_on_record_while_it_runs(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(histories, "_SOON", 0)
    database = Database(str(tmp_path / "ketch.db"))
    recording = BuildHistory(database).begin(BuildOptions())
    while not (found := BuildHistory(database).all()):
        await asyncio.sleep(0)
    assert found == [recording.record]
    after = BuildHistory(database)
    after.start()  # of the next daemon
    assert [record.status for record in after.all()] == [histories.INTERRUPTED]


async def test_the_oldest_builds_go_with_the_write_of_the_latest(tmp_path: Path) -> None:
    database = Database(str(tmp_path / "ketch.db"))
    history = BuildHistory(database)
    for number in range(MOST + 2):
        history.begin(BuildOptions(), f"r{number}").end(COMPLETED)
    kept = {record.ref for record in BuildHistory(database).all()}
    assert kept == {record.ref for record in history.all()}
    assert len(kept) == MOST
    assert not kept & {"r0", "r1"}
