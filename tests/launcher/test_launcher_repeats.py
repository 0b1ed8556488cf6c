"""What nobody has begun when those die who should do it is done by others, and nobody is told."""

from __future__ import annotations

import asyncio
import fcntl
import os
import signal
import socket
import termios
import uuid
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from e2e.ketchd_process import is_zombie
from ketch.errors import Unavailable
from ketch.runtime import protocol
from ketch.runtime.remote import Launcher, Shim
from ketch.runtime.wire import pair
from launcher.conftest import Bench

pytestmark = pytest.mark.root

TASKS = "ketch.testing_tasks"
Deed = Callable[[Bench], Awaitable[object]]


async def start(bench: Bench) -> object:
    client = bench.client()
    job = bench.start("echo said")
    job["rootfs"]["volatile"] = True  # as a build step has it: the kernel mounts it once only
    await bench.run(job, client)
    return await client.streams()


async def execute(bench: Bench) -> object:
    client = bench.client()
    shim = bench.shims[0]
    job = bench.exec(bench.start(""), (await shim.started()).pid, "echo said")
    process = await bench.launcher.exec(job, [client.pair])
    await process.started()
    bench.shims.append(process)
    return await client.streams()


async def work(bench: Bench) -> object:
    rootfs = bench.rootfs(uuid.uuid4().hex)
    rootfs.volatile = True
    return (await bench.launcher.work(f"{TASKS}:report", {"a": 1}, rootfs=rootfs))["args"]


DEEDS = {start: {1: b"said\n"}, execute: {1: b"said\n"}, work: {"a": 1}}


async def prepared(bench: Bench) -> None:
    """A container to execute something in, a nursery to work in, and no supervisor that waits."""
    await bench.run(bench.start("/bin/busybox", "sleep", "600"))
    await work(bench)


async def unread(launcher: Launcher) -> None:
    """Wait until the launcher has something to read."""
    sock = launcher._connection._sock  # type: ignore[union-attr]
    while not any(fcntl.ioctl(sock, termios.TIOCOUTQ, bytes(4))):
        await asyncio.sleep(0.001)


def children(pid: int) -> dict[str, int]:
    pids = Path(f"/proc/{pid}/task/{pid}/children").read_text().split()
    return {Path(f"/proc/{child}/comm").read_text().strip(): int(child) for child in pids}


async def zygote_of(pid: int) -> int:
    """It takes its name a moment after the launcher answers."""
    while "ketch-zygote" not in children(pid):
        await asyncio.sleep(0.001)
    return children(pid)["ketch-zygote"]


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
async def test_the_launcher_dies_before_it_reads(bench: Bench, deed: Deed) -> None:
    await prepared(bench)
    pid = (await bench.launcher.hello())["pid"]
    os.kill(pid, signal.SIGSTOP)
    task = asyncio.ensure_future(deed(bench))
    await unread(bench.launcher)
    os.kill(pid, signal.SIGKILL)
    assert await task == DEEDS[deed]
    assert (await bench.launcher.hello())["pid"] != pid


@pytest.mark.parametrize("deed", DEEDS, ids=lambda deed: deed.__name__)
async def test_who_should_do_it_dies_before_it_reads(
    bench: Bench, deed: Deed, monkeypatch: pytest.MonkeyPatch
) -> None:
    """The launcher has answered: it has passed the request on."""
    await prepared(bench)
    there = children((await bench.launcher.hello())["pid"])
    names = ("ketch-nursery",) if deed is work else ("ketch-zygote", "ketch-exec", "ketch-idle")
    answered = asyncio.Event()
    hand_over = Launcher._hand_over

    async def told(*args: Any) -> None:
        await hand_over(*args)
        answered.set()

    monkeypatch.setattr(Launcher, "_hand_over", told)
    victims = [pid for name, pid in {**there, **children(there["ketch-zygote"])}.items()
               if name in names]  # fmt: skip
    for pid in victims:
        os.kill(pid, signal.SIGSTOP)
    task = asyncio.ensure_future(deed(bench))
    await answered.wait()
    for pid in victims:
        os.kill(pid, signal.SIGKILL)
    assert await task == DEEDS[deed]


async def test_the_zygote_dies_before_the_launcher_knows(bench: Bench) -> None:
    pid = (await bench.launcher.hello())["pid"]
    zygote = await zygote_of(pid)
    os.kill(pid, signal.SIGSTOP)
    os.kill(zygote, signal.SIGKILL)
    while not is_zombie(str(zygote)):
        await asyncio.sleep(0.001)
    task = asyncio.ensure_future(start(bench))
    await unread(bench.launcher)
    os.kill(pid, signal.SIGCONT)
    assert await task == DEEDS[start]


async def test_what_has_begun_is_not_repeated(bench: Bench, tmp_path: Path) -> None:
    path = tmp_path / "pid"
    task = asyncio.ensure_future(bench.launcher.work(f"{TASKS}:sleep", {"pid_file": str(path)}))
    while not path.exists() or not path.read_text():
        await asyncio.sleep(0.002)
    os.kill(int(path.read_text()), signal.SIGKILL)
    with pytest.raises(Unavailable, match="died"):
        await task


@pytest.mark.parametrize("begun", [False, True])
async def test_a_supervisor_dies_without_a_word(tmp_path: Path, begun: bool) -> None:
    """The socket that it listens on tells that it had begun."""
    asked = []

    async def again(theirs: socket.socket) -> None:
        protocol.send(theirs, {"event": "started", "pid": 7, "started_at": 1, "cgroup": {}})
        asked.append(theirs.dup())

    place = tmp_path / "socket"
    if begun:
        place.touch()
    ours, theirs = pair()
    shim = Shim(ours, "x", str(place), again)
    theirs.close()
    if begun:
        with pytest.raises(Unavailable):
            await shim.started()
    else:
        assert (await shim.started()).pid == 7
    assert len(asked) == (not begun)
    shim.close()
    for sock in asked:
        sock.close()


def test_last_words_of_one_that_dies_with_something_unread() -> None:
    ours, theirs = pair()
    with ours:
        protocol.send(ours, {"op": "never read"})
        protocol.send(theirs, {"seq": 1, "ok": True})
        theirs.close()
        answer = protocol.receive(ours)
        assert answer is not None
        assert answer.body == {"seq": 1, "ok": True}
        assert protocol.receive(ours) is None
