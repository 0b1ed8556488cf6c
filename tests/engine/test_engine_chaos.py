"""kill -9 of the daemon at any instant: nothing acknowledged is lost, nothing is left behind."""

from __future__ import annotations

import asyncio
import os
import random
import sys
from pathlib import Path

import msgspec
import pytest

from engine.real import Bench, cleaned, killed_daemon, opened, settings_below
from ketch.daemon.settings import Settings
from ketch.engine.containers.list import ListOptions
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.linux.process import is_alive

pytestmark = pytest.mark.root

ROUNDS = 4
WORKERS = 4

# Each worker tells what was acknowledged, at once: "<name> <verb>".
DAEMON = """
import asyncio, os, sys
sys.path[:0] = {path!r}
from engine.real import Bench
from ketch.engine.containers.spec import ContainerSpec
from ketch.daemon.settings import Settings
import msgspec

async def worker(engine, name):
    spec = ContainerSpec(image="box", cmd=("sleep", "600"))
    for turn in range(1000):
        this = f"{{name}}.{{turn}}.{{os.getpid()}}"
        await engine.containers.create(spec, this)
        os.write(1, f"{{this}} create\\n".encode())
        await engine.containers.start(this)
        os.write(1, f"{{this}} start\\n".encode())
        await engine.containers.kill(this)
        os.write(1, f"{{this}} kill\\n".encode())
        await engine.containers.remove(this)
        os.write(1, f"{{this}} remove\\n".encode())

async def main():
    bench = Bench(msgspec.json.decode({settings!r}, type=Settings))
    await bench.open()
    os.write(1, b"up\\n")
    await asyncio.gather(*(worker(bench.engine, f"w{{n}}") for n in range({workers})))

asyncio.run(main())
"""

# What a container may be after its last acknowledged verb; None = gone. The next verb may have
# been in flight.
ALLOWED = {
    "create": {Status.CREATED, Status.RUNNING},
    "start": {Status.RUNNING, Status.EXITED},
    "kill": {Status.EXITED, None},
    "remove": {None},
}


async def test_daemons_killed_in_a_storm(tmp_path: Path) -> None:
    settings = settings_below(tmp_path)
    chance = random.Random(os.urandom(8))
    async with asyncio.timeout(100), cleaned(settings):
        async with opened(settings) as bench:
            await bench.add_image()
        for _ in range(ROUNDS):
            said = await _daemon_until_killed(settings, 0.1 + chance.random() * 0.6)
            async with opened(settings) as bench:
                await _check(bench, said)


async def _daemon_until_killed(settings: Settings, seconds: float) -> dict[str, str]:
    """Run a daemon for a while; the last acknowledged verb of each container."""
    wire = msgspec.json.encode(settings)
    code = DAEMON.format(path=sys.path, settings=wire, workers=WORKERS)
    async with killed_daemon(code) as daemon:
        assert daemon.stdout is not None
        assert await daemon.stdout.readline() == b"up\n"
        text = await daemon.stdout.readline()  # on a busy machine even the first may take its time
        await asyncio.sleep(seconds)
        daemon.kill()
        text += await daemon.stdout.read()
    return dict(line.split() for line in text.decode().splitlines())


async def _check(bench: Bench, said: dict[str, str]) -> None:
    assert said
    records = {record.name: record for record in await _records(bench)}
    for name, verb in said.items():
        record = records.get(name)
        status = record.state.status if record is not None else None
        assert status in ALLOWED[verb], (name, verb, status)
    for record in records.values():
        state = record.state
        assert is_alive(state.pid, state.pid_start_time) == state.running, record.name
    _check_disk(bench, {record.id for record in records.values()})
    for record in records.values():
        await bench.engine.containers.remove(record.id, force=True)


async def _records(bench: Bench) -> list[ContainerRecord]:
    return await bench.engine.containers.list(ListOptions(all=True))


def _check_disk(bench: Bench, known: set[str]) -> None:
    """Snapshots and bundles are those of the records, no more and no fewer."""
    assert set(os.listdir(f"{bench.settings.data_root}/containers")) == known
    assert set(bench.engine.parts.snapshots.snapshots()) == known
