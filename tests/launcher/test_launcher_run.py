"""Containers through the launcher, from start to exit."""

import asyncio
import json
import time

import pytest

from ketch.errors import StartFailed
from ketch.logs.reader import read
from launcher.conftest import Bench

pytestmark = pytest.mark.root


def logged(bench: Bench, name: str) -> list[tuple[str, bytes]]:
    return [(e.stream, e.data) for part in read(str(bench.log(name))) for e in part]


@pytest.mark.parametrize("warm", [False, True])
async def test_output_log_exit_code(bench: Bench, warm: bool) -> None:
    client = bench.client()
    start = bench.start("echo out; echo err >&2; echo -n tail; exit 7")
    if warm:
        await bench.launcher.warm(bench.warm(start["id"]))
        assert (await bench.launcher.hello())["warm"] == [start["id"]]
        start["warm"] = start["id"]
    shim = await bench.run(start, client)
    assert await client.streams() == {1: b"out\ntail", 2: b"err\n"}
    exited = await shim.exited()
    assert (exited.status, exited.signal, exited.oom) == (7, 0, False)
    assert abs(exited.at - time.time_ns()) < 5_000_000_000
    with open(f"{start['bundle']}/exit.json") as file:
        assert json.load(file)["status"] == 7
    assert sorted(logged(bench, start["id"])) == [
        ("stderr", b"err\n"),
        ("stdout", b"out\n"),
        ("stdout", b"tail"),
    ]
    await shim.reap()
    await shim.gone()
    assert bench.count_shim_sockets() == 0


async def test_missing_command(bench: Bench) -> None:
    shim = await bench.launcher.start(bench.start("/bin/nothing", "x"))
    with pytest.raises(StartFailed) as caught:
        await shim.started()
    assert caught.value.exit_code == 127
    await shim.gone()
    assert bench.count_shim_sockets() == 0


async def test_signal(bench: Bench) -> None:
    shim = await bench.run(bench.start("/bin/busybox", "sleep", "600"))
    await shim.signal(9)
    exited = await shim.exited()
    assert (exited.status, exited.signal) == (137, 9)


async def test_stdin_half_close(bench: Bench) -> None:
    client = bench.client(stdin=True, input="aGVsbG8g")
    start = bench.start("/bin/busybox", "cat", stdin=True, stdin_once=True)
    shim = await bench.run(start, client)
    await client.send(b"world\n" * 100_000)
    client.end_input()
    assert await client.streams() == {1: b"hello " + b"world\n" * 100_000}
    assert (await shim.exited()).status == 0


async def test_stdin_stays_open_without_once(bench: Bench) -> None:
    client = bench.client(stdin=True)
    shim = await bench.run(bench.start("/bin/busybox", "cat", stdin=True), client)
    await client.send(b"one\n")
    await client.read_until(b"one\n")
    client.end_input()
    second = bench.client(stdin=True, framed=False)
    await shim.attach(*second.pair)
    await second.send(b"two\n")
    assert await second.read_until(b"two\n") == b"two\n"
    await shim.close_stdin()
    assert (await shim.exited()).status == 0


async def test_terminal_resize_and_detach(bench: Bench) -> None:
    client = bench.client(stdin=True, framed=False)
    start = bench.start("/bin/busybox", "sh", "-i", terminal=True, stdin=True, console=[33, 99])
    shim = await bench.run(start, client)
    detached = asyncio.Event()
    shim.on_detached = detached.set
    await shim.resize(40, 120)
    await client.send(b"/bin/busybox stty size\n")
    await client.read_until(b"40 120")
    await client.send(b"\x10x\x10\x11ignored")
    await client.read_to_end()
    await detached.wait()
    again = bench.client(stdin=True, framed=False)
    await shim.attach(*again.pair)
    await again.send(b"\x15exit 5\n")
    await again.read_to_end()
    assert (await shim.exited()).status == 5


async def test_exec(bench: Bench) -> None:
    start = bench.start("/bin/busybox", "sleep", "600")
    shim = await bench.run(start)
    pid = (await shim.started()).pid
    client = bench.client(stdin=True)
    job = bench.exec(start, pid, "/bin/busybox cat; echo err >&2; exit 3", stdin=True)
    process = await bench.launcher.exec(job, [client.pair])
    bench.shims.append(process)
    await client.send(b"typed\n")
    client.end_input()
    assert await client.streams() == {1: b"typed\n", 2: b"err\n"}
    assert (await process.exited()).status == 3
    failing = await bench.launcher.exec(bench.exec(start, pid, "/nothing", "x"))
    with pytest.raises(StartFailed):
        await failing.started()


async def test_twenty_at_once(bench: Bench) -> None:
    async def one(number: int) -> tuple[dict[int, bytes], int]:
        client = bench.client()
        shim = await bench.run(bench.start(f"echo {number}; exit {number}"), client)
        streams = await client.streams()
        return streams, (await shim.exited()).status

    results = await asyncio.gather(*(one(number) for number in range(20)))
    assert results == [({1: b"%d\n" % number}, number) for number in range(20)]


async def test_nobody_connected_shim_leaves_by_itself(bench: Bench) -> None:
    start = bench.start("exit 4")
    shim = await bench.run(start)
    await shim.exited()
    shim.close()
    while bench.count_shim_sockets():
        await asyncio.sleep(0.005)
