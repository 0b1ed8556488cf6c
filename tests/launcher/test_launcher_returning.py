"""Crew that serve again: what they keep (nothing), and when they leave."""

import asyncio
import contextlib
import os
import socket
from pathlib import Path

import pytest

from ketch.linux.eventpoll import Loop
from ketch.runtime import launcher_peers, protocol, returning
from ketch.runtime.launcher_peers import Crew
from launcher.conftest import Bench

TEXT = b"from the container before"
PATIENCE = 30  # seconds: then something hangs


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


def kept_open(pid: int) -> set[str]:
    """What is open, by identity (anonymous inodes have none)."""
    return {os.readlink(f"/proc/{pid}/fd/{fd}") for fd in os.listdir(f"/proc/{pid}/fd")}


async def until_free(bench: Bench, shim: int) -> None:
    """Until it is idle, or gone."""
    async with asyncio.timeout(PATIENCE):
        with contextlib.suppress(OSError):
            while Path(f"/proc/{shim}/comm").read_text() != "ketch-idle\n":
                await asyncio.sleep(0.002)
    for _ in range(3):  # turns of the launcher: connection, message
        await bench.launcher.hello()


async def until_gone(pid: int) -> None:
    async with asyncio.timeout(PATIENCE):
        while Path(f"/proc/{pid}").exists():
            await asyncio.sleep(0.002)


async def used_shim(bench: Bench) -> tuple[int, set[str], list[str]]:
    """A shim that is idle; what it had open and where its files were while it served."""
    start = bench.start(f"echo {TEXT.decode()}; cat", stdin=True, stdin_once=True)
    client = bench.client(stdin=True)
    shim = await bench.launcher.start(start, [client.pair])
    pid = parent((await shim.started()).pid)
    open_then, mounts = kept_open(pid), Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    client.end_input()
    await client.read_to_end()
    await shim.exited()
    await shim.reap()
    await shim.gone()
    await until_free(bench, pid)
    return pid, open_then, mounts


@pytest.mark.root
@pytest.mark.parametrize("warm", [False, True])
async def test_a_shim_serves_again_and_keeps_nothing(bench: Bench, warm: bool) -> None:
    used, open_then, mounts = await used_shim(bench)
    assert len(os.listdir(f"/proc/{used}/fd")) == 4, "stdio, and the way to the launcher"
    inherited = kept_open(used)
    start = bench.start("cat; echo the next one", stdin=True, stdin_once=True)
    if warm:
        start["warm"] = f"warm-{start['id']}"
        await bench.launcher.warm(bench.warm(start["warm"]))
    client = bench.client(stdin=True)
    shim = await bench.launcher.start(start, [client.pair])
    bench.shims.append(shim)
    pid = (await shim.started()).pid
    assert parent(pid) == used
    assert Path(f"/proc/{used}/comm").read_text() == "ketch-shim\n"
    open_now = kept_open(used)
    assert len(open_now) <= len(open_then)
    both = {link for link in open_now & open_then if not link.startswith("anon_inode:")}
    assert both <= inherited
    assert Path(f"/proc/{used}/mountinfo").read_text().splitlines() == mounts
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    seen = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert not [line for line in seen if str(bench.exec_root) in line]
    client.end_input()
    assert await client.streams() == {1: b"the next one\n"}
    assert (await shim.exited()).status == 0
    assert TEXT not in bench.log(start["id"]).read_bytes()


@pytest.mark.root
async def test_an_idle_shim_that_is_killed_is_no_loss(bench: Bench) -> None:
    used, _, _ = await used_shim(bench)
    os.kill(used, 9)
    await until_gone(used)
    shim = await bench.run(bench.start("exit 3"))
    assert (await shim.exited()).status == 3


@pytest.mark.root
async def test_idle_shims_leave_with_their_launcher(bench: Bench) -> None:
    used, _, _ = await used_shim(bench)
    os.kill((await bench.launcher.hello())["pid"], 9)
    await until_gone(used)


@pytest.mark.root
async def test_the_shim_of_a_start_that_failed_leaves(bench: Bench) -> None:
    used, _, _ = await used_shim(bench)
    shim = await bench.launcher.start(bench.start("/no/such/program", "of", "mine"))
    bench.shims.append(shim)
    with pytest.raises(Exception, match="no such file"):
        await shim.started()
    await until_gone(used)


@pytest.mark.root
async def test_nothing_gets_lost_when_a_supervisor_has_served_enough(bench: Bench) -> None:
    init = (await (await bench.run(start := bench.start("sleep 600"))).started()).pid
    served = []
    for _ in range(returning.MOST + 2):
        client = bench.client(stdin=True)
        job = bench.exec(start, init, "read x; exit 5", stdin=True)
        shim = await bench.launcher.exec(job, [client.pair])
        served.append(parent((await shim.started()).pid))
        client.end_input()
        assert (await shim.exited()).status == 5
        await shim.reap()
        await client.read_to_end()
        client.close()
        await shim.gone()
        await until_free(bench, served[-1])
    assert served.count(served[0]) == returning.MOST


def test_idle_shims_are_let_go_after_a_while(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(launcher_peers, "_PATIENCE", 0.0)
    monkeypatch.setattr(launcher_peers, "_MOST_IDLE", 2)
    zygote, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
    loop = Loop()
    shims = Crew(loop, zygote)
    pairs = [socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET) for _ in range(3)]
    for ours, _ in pairs:
        shims.add(ours)
    assert pairs[2][1].recv(1) == b"", "there are enough"
    shims.hand_over(b'{"op":"start"}', [])
    message = protocol.receive(pairs[1][1])
    assert message is not None
    assert message.body == {"op": "start"}
    assert len(message.fds) == 1, "the launcher's mount namespace"
    message.close()
    loop.turn()
    assert pairs[0][1].recv(1) == b""
    shims.hand_over(b'{"op":"warm"}', [])
    assert theirs.recv(100) == b'{"op":"warm"}'
    for one in (zygote, theirs, *(sock for pair in pairs for sock in pair)):
        one.close()
    loop.close()


@pytest.mark.root
async def test_supervisors_of_containers_and_execs_take_turns(bench: Bench) -> None:
    start = bench.start("/bin/busybox", "sleep", "600")
    init = (await (await bench.run(start)).started()).pid
    for _ in range(2):
        used, _, _ = await used_shim(bench)
        client = bench.client()
        shim = await bench.launcher.exec(bench.exec(start, init, "sleep 600"), [client.pair])
        bench.shims.append(shim)
        pid = (await shim.started()).pid
        assert parent(pid) == used
        for kind in ("pid", "mnt", "net", "cgroup"):
            assert os.readlink(f"/proc/{pid}/ns/{kind}") == os.readlink(f"/proc/{init}/ns/{kind}")
        await shim.signal(9)
        await client.read_to_end()
        assert (await shim.exited()).status == 137
        await shim.reap()
        await shim.gone()
        await until_free(bench, used)
        ours = os.readlink("/proc/self/ns/pid")
        assert os.readlink(f"/proc/{used}/ns/pid_for_children") == ours
