"""How output flows: fast and slow clients, many clients, stalled ones, streams kept open."""

import asyncio
import hashlib
import os
import socket
import time

import pytest

from ketch.runtime.attached import LIMIT
from launcher.conftest import Bench, Client, unframe

pytestmark = pytest.mark.root

NO_LOG = {"driver": "none", "path": "", "max_size": 0, "max_file": 1, "attrs": {}}
FLOOD = "i=0; while [ $i -lt 40 ]; do /bin/busybox head -c 1000000 /dev/zero; i=$((i+1)); done"


def digest(data: bytes) -> str:
    return hashlib.sha256(data).hexdigest()


async def test_spliced_output_is_whole_and_framed(bench: Bench) -> None:
    """No log, one slow client, both streams: the path without copies."""
    script = (
        "i=0; while [ $i -lt 300 ]; do echo line-$i-$(/bin/busybox printf '%0900d' $i); "
        "/bin/busybox printf '%0500d\n' $i >&2; i=$((i+1)); done"
    )
    client = bench.client()
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
    client.theirs.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 4096)
    shim = await bench.run(bench.start(script, log=NO_LOG), client)
    streams = await client.streams()
    out = b"".join(b"line-%d-%0900d\n" % (n, n) for n in range(300))
    err = b"".join(b"%0500d\n" % n for n in range(300))
    assert digest(streams[1]) == digest(out)
    assert digest(streams[2]) == digest(err)
    assert (await shim.exited()).status == 0


async def test_spliced_flood(bench: Bench) -> None:
    client = bench.client(stderr=False)
    shim = await bench.run(bench.start(FLOOD, log=NO_LOG), client)
    streams = await client.streams()
    assert streams[1].count(0) == len(streams[1]) == 40_000_000
    assert (await shim.exited()).status == 0


async def test_a_second_client_in_the_middle_of_a_splice(bench: Bench) -> None:
    first = bench.client()
    start = bench.start("/bin/busybox head -c 3000000 /dev/zero; read x; echo end", log=NO_LOG,
                        stdin=True)  # fmt: skip
    shim = await bench.run(start, first)
    second = bench.client(stdin=True)
    await shim.attach(*second.pair)
    await second.send(b"go\n")
    first_streams, second_streams = await asyncio.gather(first.streams(), second.streams())
    assert second_streams[1].endswith(b"end\n")
    assert len(first_streams[1]) == 3_000_004


async def test_a_slow_foreground_client_loses_nothing(bench: Bench) -> None:
    """It holds the process back for longer than an observer might, as a pipe would."""
    client = bench.client()
    shim = await bench.run(bench.start(FLOOD), client)
    await asyncio.sleep(0.8)
    assert not shim.lost
    streams = unframe(await client.read_to_end())
    assert len(streams[1]) == 40_000_000
    assert (await shim.exited()).status == 0


async def test_stalled_observers_are_cut_and_others_get_everything(bench: Bench) -> None:
    shim = await bench.run(bench.start(f"read x; {FLOOD}", stdin=True))
    stalled = [bench.client() for _ in range(20)]
    for client in stalled:
        await shim.attach(*client.pair)
        client.theirs.close()
    reader = bench.client(stdin=True)
    await shim.attach(*reader.pair)
    began = time.monotonic()
    await reader.send(b"\n")
    assert len((await reader.streams())[1]) == 40_000_000
    assert (await shim.exited()).status == 0
    assert time.monotonic() - began < 20  # they hold it back together, once
    for client in stalled:
        assert len(await client.read_to_end()) < 2 * LIMIT


async def test_exit_is_told_although_a_foreground_client_stalls(bench: Bench) -> None:
    client = bench.client()
    shim = await bench.run(bench.start("/bin/busybox head -c 900000 /dev/zero; exit 6"), client)
    assert (await shim.exited()).status == 6
    await shim.reap()
    assert len((await client.streams())[1]) == 900_000
    await shim.gone()


async def test_a_client_that_leaves_harms_nobody(bench: Bench) -> None:
    client = bench.client(stdin=True)
    shim = await bench.run(bench.start("read x; echo got $x; exit 3", stdin=True), client)
    client.close()
    other = bench.client(stdin=True)
    await shim.attach(*other.pair)
    await other.send(b"it\n")
    assert await other.streams() == {1: b"got it\n"}
    assert (await shim.exited()).status == 3


async def test_input_sent_and_closed_at_once_arrives(bench: Bench) -> None:
    client = bench.client(stdin=True)
    start = bench.start("/bin/busybox sha256sum", stdin=True, stdin_once=True)
    shim = await bench.run(start, client)
    data = b"x" * 150_000
    client.sock.setsockopt(socket.SOL_SOCKET, socket.SO_SNDBUF, 1 << 20)
    await client.send(data)
    client.sock.close()
    assert (await shim.exited()).status == 0
    assert digest(data).encode() in bench.log(start["id"]).read_bytes()


async def test_a_program_that_reads_no_input_ends_normally(bench: Bench) -> None:
    client = bench.client(stdin=True)
    start = bench.start("exec <&-; echo done", stdin=True, stdin_once=True)
    shim = await bench.run(start, client)
    sender = asyncio.create_task(flood_input(client))
    assert await client.streams() == {1: b"done\n"}
    assert (await shim.exited()).status == 0
    sender.cancel()


async def flood_input(client: Client) -> None:
    try:
        await client.send(b"x" * 10_000_000)
    except OSError:
        pass


async def test_a_grandchild_keeping_streams_open_delays_only_briefly(
    bench: Bench,
) -> None:
    start = bench.start("/bin/busybox", "sleep", "600")
    shim = await bench.run(start)
    client = bench.client()
    job = bench.exec(start, (await shim.started()).pid, "/bin/busybox sleep 7 & echo main; exit 4")
    began = time.monotonic()
    process = await bench.launcher.exec(job, [client.pair])
    bench.shims.append(process)
    assert await client.streams() == {1: b"main\n"}
    assert (await process.exited()).status == 4
    assert time.monotonic() - began < 5


async def test_throughput_with_one_client_and_no_log(bench: Bench) -> None:
    """Not the target of 0.5 GB/s (the machine is shared), but far above a slow path."""
    script = "/bin/busybox dd if=/dev/zero bs=1M count=300 2>/dev/null"
    client = bench.client(stderr=False)
    began = time.monotonic()
    shim = await bench.run(bench.start(script, log=NO_LOG), client)
    size = await asyncio.to_thread(count, client.sock)
    rate = size / (time.monotonic() - began) / 1e9
    print(f"{rate:.2f} GB/s")
    assert size > 300 << 20
    assert rate > 0.1
    await shim.exited()


def count(sock: socket.socket) -> int:
    sock.setblocking(True)
    buffer = bytearray(1 << 20)
    size = 0
    while got := sock.recv_into(buffer):
        size += got
    return size


async def test_private_memory_of_a_shim(bench: Bench) -> None:
    start = bench.start("echo hello; /bin/busybox sleep 600")
    client = bench.client()
    shim = await bench.run(start, client)
    await client.read_until(b"hello")
    with open(f"/proc/{(await shim.started()).pid}/stat") as file:
        parent = int(file.read().rsplit(")", 1)[1].split()[1])
    with open(f"/proc/{parent}/smaps_rollup") as file:
        sizes = dict(line.split(":") for line in file if line.endswith("kB\n"))
    private = int(sizes["Private_Dirty"].split()[0])
    print(f"private {private} kB, pss {sizes['Pss'].strip()}")
    assert os.readlink(f"/proc/{parent}/exe")
    assert private < 1700  # 1.3 MB where fifteen shims share with each other
