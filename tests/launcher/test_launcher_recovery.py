"""Who may die without harm: the daemon, the launcher; and what happens when a shim is killed."""

import asyncio
import json
import os
import select
import signal
import sys

import pytest

from ketch.errors import KetchError, NotFound, Unavailable
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.remote import Launcher, Shim
from launcher.conftest import ENTRY, Bench, wait_for_death

pytestmark = pytest.mark.root

DAEMON = """
import asyncio, json, socket, sys
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.remote import Launcher

async def main(exec_root, start, attach, client):
    launcher = await Launcher.connect(exec_root)
    sock = socket.socket(fileno=client)
    shim = await launcher.start(start, [(sock, attach)])
    await shim.started()
    sock.close()
    print("started", flush=True)
    await asyncio.sleep(1000)

asyncio.run(main(sys.argv[1], json.loads(sys.argv[2]), json.loads(sys.argv[3]), int(sys.argv[4])))
"""


async def test_a_killed_daemon_harms_neither_container_nor_client(bench: Bench) -> None:
    client = bench.client(stdin=True)
    script = "while read x; do echo got $x; done; exit 9"
    start = bench.start(script, stdin=True, stdin_once=True)
    fd = client.theirs.fileno()
    daemon = await asyncio.create_subprocess_exec(
        sys.executable, "-c", DAEMON, str(bench.exec_root), json.dumps(start),
        json.dumps(client.attach), str(fd), pass_fds=[fd], stdout=asyncio.subprocess.PIPE,
        env={"PYTHONPATH": ":".join(sys.path)},
    )  # fmt: skip
    assert daemon.stdout is not None
    assert await daemon.stdout.readline() == b"started\n"
    daemon.send_signal(signal.SIGKILL)
    await daemon.wait()
    await client.send(b"one\n")
    await client.read_until(b"got one\n")
    shim = await Shim.adopt(start["socket"])
    bench.shims.append(shim)
    started = await shim.started()
    assert os.path.exists(f"/proc/{started.pid}")
    second = bench.client()
    await shim.attach(*second.pair)
    await client.send(b"two\n")
    await second.read_until(b"got two\n")
    client.end_input()
    assert (await client.streams())[1] == b"got one\ngot two\n"
    assert (await shim.exited()).status == 9
    await shim.reap()
    await shim.gone()
    with pytest.raises(NotFound):
        await Shim.adopt(start["socket"])


async def test_an_exit_that_nobody_saw_is_on_file(bench: Bench) -> None:
    client = bench.client(stdin=True)
    start = bench.start("read x; exit 5", stdin=True)
    shim = await bench.run(start, client)
    shim.close()
    await client.send(b"\n")
    await client.read_to_end()
    while bench.count_shim_sockets():
        await asyncio.sleep(0.002)
    with open(f"{start['bundle']}/exit.json") as file:
        assert json.load(file)["status"] == 5


async def test_a_killed_launcher_is_replaced_and_containers_live_on(bench: Bench) -> None:
    shim = await bench.run(bench.start("read x; echo $x; exit 2", stdin=True))
    await bench.launcher.warm(bench.warm("w1"))
    lost = asyncio.Event()
    bench.launcher.on_lost = lost.set
    pid = (await bench.launcher.hello())["pid"]
    os.kill(pid, signal.SIGKILL)
    await lost.wait()
    hello = await bench.launcher.hello()
    assert hello["pid"] != pid
    assert hello["warm"] == []
    client = bench.client(stdin=True)
    await shim.attach(*client.pair)
    await client.send(b"alive\n")
    assert await client.streams() == {1: b"alive\n"}
    assert (await shim.exited()).status == 2


async def test_a_launcher_is_replaced_before_its_death_is_noticed(bench: Bench) -> None:
    pid = (await bench.launcher.hello())["pid"]
    pidfd = os.pidfd_open(pid)
    os.kill(pid, signal.SIGKILL)
    select.select([pidfd], [], [], 10)  # not awaited: the connection's end stays unread
    os.close(pidfd)
    assert (await bench.launcher.hello())["pid"] != pid


async def test_a_killed_shim_is_noticed(bench: Bench) -> None:
    start = bench.start("/bin/busybox", "sleep", "600")
    shim = await bench.run(start)
    pid = (await shim.started()).pid
    with open(f"/proc/{pid}/stat") as file:
        parent = int(file.read().rsplit(")", 1)[1].split()[1])
    os.kill(parent, signal.SIGKILL)
    with pytest.raises(Unavailable):
        await shim.exited()
    await wait_for_death(pid)
    Cgroup(bench.parent, start["id"]).remove()  # the engine's recovery does so


async def test_two_daemons_at_once_get_one_launcher(bench: Bench) -> None:
    pid = (await bench.launcher.hello())["pid"]
    await bench.launcher.shutdown()
    await wait_for_death(pid)
    launchers = await asyncio.gather(*(Launcher.ensure(bench.exec_root, ENTRY) for _ in range(4)))
    pids = {(await launcher.hello())["pid"] for launcher in launchers}
    assert len(pids) == 1
    bench.launcher = launchers[0]
    for launcher in launchers[1:]:
        launcher.close()


async def test_the_container_starts_anew_under_the_same_name(bench: Bench) -> None:
    for number in range(3):
        start = bench.start(f"exit {number}", id="again")
        shim = await bench.run(start)
        assert (await shim.exited()).status == number
        shim.reap()
        shim.close()


async def test_errors_of_requests(bench: Bench) -> None:
    shim = await bench.run(bench.start("/bin/busybox", "sleep", "600"))
    with pytest.raises(KetchError, match="terminal"):
        await shim.resize(1, 1)
    state = await shim.state()
    assert (state["exit"], state["clients"]) == (None, 0)
    with pytest.raises(KetchError, match="not known"):
        await bench.run(
            bench.start("true", log={"driver": "gelf", "path": "", "max_size": 0, "max_file": 1})
        )
    await bench.launcher.warm(bench.warm("twice"))
    with pytest.raises(KetchError, match="exists"):
        await bench.launcher.warm(bench.warm("twice"))
    await bench.launcher.drop_warm()
    assert (await bench.launcher.hello())["warm"] == []
    await shim.signal(signal.SIGKILL)
    await shim.exited()
    with pytest.raises(NotFound):
        await shim.signal(signal.SIGKILL)


async def test_a_large_start(bench: Bench) -> None:
    start = bench.start("echo ${#BIG}")
    start["spec"]["process"]["env"] = ["PATH=/bin", *(f"V{n}={'x' * 1000}" for n in range(300))]
    client = bench.client()
    shim = await bench.run(start, client)
    assert await client.streams() == {1: b"0\n"}
    assert (await shim.exited()).status == 0


async def test_a_launcher_of_another_release_is_replaced(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Its workers would import modules of this one; the containers it started go on."""
    client = bench.client(stdin=True)
    shim = await bench.run(bench.start("read x; exit $x", stdin=True), client)
    old = (await bench.launcher.hello())["pid"]
    assert (await (await Launcher.ensure(bench.exec_root, ENTRY)).hello())["pid"] == old
    monkeypatch.setattr("ketch.runtime.protocol.RELEASE", "another")
    monkeypatch.setattr("ketch.runtime.remote._RETRIES", 1)
    with pytest.raises(Unavailable):  # the new one is of the old release, too, here
        await Launcher.ensure(bench.exec_root, ENTRY)
    monkeypatch.undo()
    bench.launcher = await Launcher.ensure(bench.exec_root, ENTRY)
    assert (await bench.launcher.hello())["pid"] != old
    await client.send(b"7\n")
    assert (await shim.exited()).status == 7
