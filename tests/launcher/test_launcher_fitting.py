"""Containers that fitters make, warm and cold: limits, failures, what they leave."""

import asyncio
import os
import stat
from pathlib import Path

import pytest

from fitters import fitters
from ketch.errors import KetchError, StartFailed, Unavailable
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.messages import Start
from launcher.conftest import Bench

pytestmark = pytest.mark.root
WAYS = pytest.mark.parametrize("warm", [False, True])


async def ordered(bench: Bench, warm: bool, *script: str) -> Start:
    """A START, with the warm member that it names."""
    start = bench.start(*script)
    if warm:
        start["warm"] = f"warm-{start['id']}"
        await bench.launcher.warm(bench.warm(start["warm"]))
    return start


def groups(bench: Bench, name: str) -> list[Path]:
    return [*Path("/sys/fs/cgroup").glob(f"*{bench.parent}/{name}")]


def parked(bench: Bench, name: str) -> int:
    """The pid of the warm member ``name``."""
    (pid,) = Cgroup(bench.parent, name).pids()
    return pid


def parent(pid: int) -> int:
    return int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])


async def until_gone(bench: Bench, *names: str) -> None:
    while any(groups(bench, name) for name in names):
        await asyncio.sleep(0.005)


@WAYS
async def test_limits_hold_from_the_first_instruction(bench: Bench, warm: bool) -> None:
    start = await ordered(bench, warm, "/bin/busybox", "sleep", "600")
    start["spec"]["linux"]["resources"] = {"pids": {"limit": 77}}
    shim = await bench.run(start)
    where = (await shim.started()).cgroup["pids"]
    assert Path(where, "pids.max").read_text() == "77\n"


@WAYS
async def test_nothing_of_the_host_stays_open(bench: Bench, warm: bool) -> None:
    start = await ordered(bench, warm, "/bin/busybox", "sleep", "600")
    shim = await bench.run(start)
    pid = (await shim.started()).pid
    assert sorted(os.listdir(f"/proc/{pid}/fd")) == ["0", "1", "2"]
    mounts = Path(f"/proc/{pid}/mountinfo").read_text().splitlines()
    assert not [line for line in mounts if str(bench.exec_root) in line]
    assert not os.stat(start["socket"]).st_mode & (stat.S_IWGRP | stat.S_IWOTH)


@WAYS
async def test_limits_that_cannot_be_kept(bench: Bench, warm: bool) -> None:
    start = await ordered(bench, warm, "true")
    limit = {"pageSize": "3MB", "limit": 1}
    start["spec"]["linux"]["resources"] = {"hugepageLimits": [limit]}
    with pytest.raises(StartFailed, match="hugepageLimits") as caught:
        await bench.launcher.start(start)
    assert caught.value.exit_code == 128
    assert (await bench.launcher.hello())["warm"] == []
    await until_gone(bench, start["id"], str(start["warm"]))


@WAYS
async def test_a_bind_that_is_missing(bench: Bench, warm: bool) -> None:
    start = await ordered(bench, warm, "true")
    bind = {"type": "bind", "source": "/no/such", "destination": "/x", "options": ["rbind"]}
    start["spec"]["mounts"].append(bind)
    shim = await bench.launcher.start(start)
    with pytest.raises(StartFailed, match="cannot mount /no/such at /x") as caught:
        await shim.started()
    assert caught.value.exit_code == 128
    await shim.gone()
    await until_gone(bench, start["id"], str(start["warm"]))


@WAYS
async def test_a_shim_socket_that_is_taken(bench: Bench, warm: bool) -> None:
    running = await bench.run(bench.start("/bin/busybox", "sleep", "600", id="taken"))
    start = await ordered(bench, warm, "true")
    start["socket"] = str(bench.exec_root / "shims" / "taken.sock")
    shim = await bench.launcher.start(start)
    with pytest.raises(StartFailed, match="another supervisor"):
        await shim.started()
    await shim.gone()
    await until_gone(bench, start["id"], str(start["warm"]))
    assert (await running.state())["exit"] is None


async def test_a_warm_member_that_died_is_replaced_by_a_cold_start(bench: Bench) -> None:
    start = await ordered(bench, True, "exit 6")
    name = str(start["warm"])
    os.kill(parked(bench, name), 9)
    await until_gone(bench, name)
    shim = await bench.run(start)
    assert (await shim.exited()).status == 6


async def test_a_warm_member_that_is_dropped_leaves_nothing(bench: Bench) -> None:
    await bench.launcher.warm(bench.warm("dropped"))
    pid = parked(bench, "dropped")
    await bench.launcher.drop_warm(["dropped"])
    await until_gone(bench, "dropped")
    assert not Path(f"/proc/{pid}").exists()


@pytest.mark.parametrize("who", ["shim", "fitter"])
async def test_a_warm_member_goes_when_one_of_it_dies(bench: Bench, who: str) -> None:
    start = await ordered(bench, True, "exit 6")
    name = str(start["warm"])
    first = parked(bench, name)
    (fitter,) = fitters((await bench.launcher.hello())["pid"])
    os.kill(parent(first) if who == "shim" else fitter, 9)
    while Path(f"/proc/{first}").exists() or Path(f"/proc/{fitter}").exists():
        await asyncio.sleep(0.005)
    if who == "shim":  # who would have removed it; the launcher does
        await asyncio.to_thread(Cgroup(bench.parent, name).destroy)
    await until_gone(bench, name)
    shim = await bench.run(start)
    assert (await shim.exited()).status == 6


@WAYS
async def test_the_way_it_is_told_when_the_first_process_cannot_be_prepared(
    bench: Bench, warm: bool
) -> None:
    """A file that is no namespace: the placeholder dies of it, and its shim says of what."""
    order = bench.start("true")
    spaces = order["spec"]["linux"]["namespaces"]
    spaces[:] = [entry for entry in spaces if entry["type"] != "uts"]
    spaces.append({"type": "uts", "path": os.devnull})
    said = "cannot set up the process: setns: a namespace: invalid argument"
    if warm:
        member = bench.warm("bad")
        member["namespaces"] = spaces
        with pytest.raises(KetchError, match=said):
            await bench.launcher.warm(member)
        await until_gone(bench, "bad")
        return
    shim = await bench.launcher.start(order)
    with pytest.raises(StartFailed, match=said):
        await shim.started()
    await shim.gone()
    await until_gone(bench, order["id"])


@WAYS
async def test_working_directories_in_proc(bench: Bench, warm: bool) -> None:
    start = await ordered(bench, warm, "/bin/busybox pwd; exit 3")
    start["spec"]["process"]["cwd"] = "/proc/self/attr"
    client = bench.client()
    shim = await bench.run(start, client)
    assert (await client.read_until(b"attr\n")).endswith(b"/proc/1/attr\n")
    assert (await shim.exited()).status == 3


@WAYS
async def test_a_score_is_the_containers_alone(bench: Bench, warm: bool) -> None:
    start = await ordered(bench, warm, "/bin/busybox", "sleep", "600")
    start["spec"]["process"]["oomScoreAdj"] = 321
    shim = await bench.run(start)
    pid = (await shim.started()).pid
    own = Path("/proc/self/oom_score_adj").read_text()
    scores = [Path(f"/proc/{one}/oom_score_adj").read_text() for one in (pid, parent(pid))]
    assert scores == ["321\n", own]


async def test_a_killed_first_process_is_a_failed_start(bench: Bench) -> None:
    """Killed between its START and its program: held up there by a FIFO that nobody opens."""
    start = await ordered(bench, True, "true")
    start["seccomp"] = str(bench.directory / "fifo")
    os.mkfifo(start["seccomp"])
    pid = parked(bench, str(start["warm"]))
    shim = await bench.launcher.start(start)
    while not Path(start["socket"]).exists():
        await asyncio.sleep(0.005)
    os.kill(pid, 9)
    with pytest.raises((StartFailed, Unavailable)) as caught:
        await shim.started()
    await shim.gone()
    if caught.type is Unavailable:  # the shim had not heard of START: the engine sweeps then
        Cgroup(bench.parent, start["id"]).destroy()
    await until_gone(bench, start["id"], str(start["warm"]))


async def test_bad_namespaces_are_told_and_make_no_cgroup(bench: Bench) -> None:
    warm = bench.warm("bad")
    warm["namespaces"] = [{"type": "pid"}]
    with pytest.raises(KetchError, match="mount namespace"):
        await bench.launcher.warm(warm)
    assert not groups(bench, "bad")


async def test_hooks_want_a_maker(bench: Bench) -> None:
    start = await ordered(bench, True, "/bin/busybox", "sleep", "600")
    said = bench.directory / "said"
    script = f"/bin/busybox readlink /proc/self/ns/pid > {said}"
    hook = {"path": "/bin/busybox", "args": ["sh", "-c", script]}
    start["spec"]["hooks"] = {"createRuntime": [hook]}
    await bench.run(start)
    assert said.read_text().strip() == os.readlink("/proc/self/ns/pid")
    await until_gone(bench, str(start["warm"]))
