"""The engine with real processes: run, exec, logs, cp, commit, volumes, limits, adoption."""

from __future__ import annotations

import asyncio
import io
import os
import signal
import socket
import sys
import tarfile
from collections.abc import AsyncIterator
from contextlib import aclosing
from pathlib import Path

import pytest

from engine.real import (
    Bench,
    cleaned,
    killed_daemon,
    opened,
    read_all,
    settings_below,
    unframed,
    wait_for_death,
)
from fitters import fitters
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.exec_values import ExecSpec
from ketch.engine.containers.files import ArchivePut
from ketch.engine.containers.limits import Resources
from ketch.engine.containers.list import ListOptions
from ketch.engine.containers.logs import LogOptions
from ketch.engine.containers.record import Status
from ketch.engine.containers.spec import ContainerSpec, MountSpec, RestartPolicy
from ketch.engine.containers.stats_values import Stats
from ketch.engine.containers.update_values import UpdateOptions
from ketch.engine.containers.wait import WaitCondition
from ketch.engine.images.values import CommitOptions
from ketch.errors import (
    Conflict,
    InvalidParameter,
    KetchError,
    NotFound,
    StartFailed,
    Unavailable,
)
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.remote import Launcher, Shim, Started

pytestmark = pytest.mark.root


async def test_run_true_and_false(bench: Bench) -> None:
    assert await bench.run("true") == (0, b"", b"")
    assert (await bench.run("false"))[0] == 1
    status, out, err = await bench.run("sh", "-c", "echo out; echo err >&2; exit 7")
    assert (status, out, err) == (7, b"out\n", b"err\n")
    assert await bench.engine.containers.list(ListOptions(all=True)) == []


async def test_many_at_once(bench: Bench) -> None:
    results = await asyncio.gather(*(bench.run("echo", str(n)) for n in range(12)))
    assert [out for _, out, _ in results] == [b"%d\n" % n for n in range(12)]


async def test_what_a_process_sees(bench: Bench) -> None:
    script = "id -u; pwd; hostname; cat /proc/1/comm; echo $A; cat /etc/hostname; ls /sys/fs/cgroup"
    status, out, err = await bench.run(
        "sh", "-c", script, hostname="sea", user="user", working_dir="/new", env=("A=1",)
    )
    assert status == 0, err
    assert out.decode().splitlines()[:6] == ["7", "/new", "sea", "sh", "1", "sea"]


async def test_network_modes(bench: Bench) -> None:
    _, out, err = await bench.run("sh", "-c", "ip -4 -o addr show eth0; ip route")
    assert b"eth0" in out, err
    assert b"default via" in out
    _, out, _ = await bench.run("sh", "-c", "ls /sys/class/net", network_mode="none")
    assert out.split() == [b"lo"]
    _, out, _ = await bench.run("readlink", "/proc/self/ns/net", network_mode="host")
    assert out.decode().strip() == os.readlink("/proc/self/ns/net")
    first = await bench.start("sleep", "600", name="first")
    _, out, _ = await bench.run("ip", "-o", "addr", network_mode="container:first")
    record = await bench.engine.containers.get(first)
    assert record.state.endpoints[0].ipv4.encode() in out


async def test_start_failures_have_dockers_words_and_codes(bench: Bench) -> None:
    for command, code, tail in (
        ("nonexistent", 127, 'exec: "nonexistent": executable file not found in $PATH'),
        ("/etc", 126, "permission denied"),
    ):
        container, _ = await bench.engine.containers.create(
            ContainerSpec(image="box", cmd=(command,))
        )
        with pytest.raises(StartFailed) as caught:
            await bench.engine.containers.start(container)
        assert caught.value.exit_code == code
        assert str(caught.value).endswith(tail), caught.value
        state = (await bench.engine.containers.get(container)).state
        assert (state.status, state.exit_code) == (Status.CREATED, code)


async def test_stdin_with_half_close(bench: Bench) -> None:
    spec = ContainerSpec(image="box", cmd=("cat",), open_stdin=True, stdin_once=True)
    container, _ = await bench.engine.containers.create(spec)
    ours, theirs = socket.socketpair()
    with ours:
        await bench.engine.containers.attach(
            container, AttachOptions(sock=theirs, stdin=True, stdout=True, read_ahead=b"a")
        )
        await bench.engine.containers.start(container)
        ours.send(b"bc\n")
        ours.shutdown(socket.SHUT_WR)
        assert unframed(await read_all(ours)) == {1: b"abc\n"}


async def test_terminal(bench: Bench) -> None:
    spec = ContainerSpec(image="box", cmd=("stty", "size"), tty=True, console_size=(30, 100))
    container, _ = await bench.engine.containers.create(spec)
    ours, theirs = socket.socketpair()
    with ours:
        await bench.engine.containers.attach(
            container, AttachOptions(sock=theirs, stdout=True, framed=False)
        )
        await bench.engine.containers.start(container)
        assert await read_all(ours) == b"30 100\r\n"


async def test_logs_follow_to_the_end(bench: Bench) -> None:
    container = await bench.start("sh", "-c", "echo 1; sleep 600", name="talk")
    lines = await bench.engine.containers.logs(container, LogOptions(follow=True))
    assert (await anext(lines))[0].data == b"1\n"
    await bench.engine.containers.kill(container)
    assert [entry.data async for batch in lines for entry in batch] == []


async def test_the_exit_code_of_an_exec_that_ends_before_its_start_is_heard_of(
    bench: Bench, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Output and its end go from the supervisor to the client, who may be faster than we are."""
    container = await bench.start("sleep", "600")
    command = ExecSpec(cmd=("sh", "-c", "echo out; exit 3"), attach_stdout=True)
    exec_id = await bench.engine.execs.create(container, command)
    heard, started = asyncio.Event(), Shim.started

    async def late(shim: Shim) -> Started:
        told = await started(shim)
        await heard.wait()
        return told

    monkeypatch.setattr(Shim, "started", late)
    ours, theirs = socket.socketpair()
    with ours:
        attach = AttachOptions(sock=theirs, stdout=True)
        starting = asyncio.create_task(bench.engine.execs.start(exec_id, attach))
        assert unframed(await read_all(ours)) == {1: b"out\n"}
        asyncio.get_running_loop().call_later(0.05, heard.set)
        assert (await bench.engine.execs.inspect(exec_id)).exit_code == 3
        await starting


async def test_exec(bench: Bench) -> None:
    container = await bench.start("sleep", "600", env=("A=1",))
    exec_id = await bench.engine.execs.create(
        container, ExecSpec(cmd=("sh", "-c", "echo $A$B; exit 3"), env=("B=2",), user="user")
    )
    ours, theirs = socket.socketpair()
    with ours:
        await bench.engine.execs.start(exec_id, AttachOptions(sock=theirs, stdout=True))
        assert unframed(await read_all(ours)) == {1: b"12\n"}
    while (record := await bench.engine.execs.inspect(exec_id)).exit_code is None:
        await asyncio.sleep(0.01)
    assert record.exit_code == 3
    missing = await bench.engine.execs.create(container, ExecSpec(cmd=("nope",)))
    with pytest.raises(StartFailed, match=r"OCI runtime exec failed.*executable file not found"):
        await bench.engine.execs.start(missing)


def _catches(pid: int, number: int) -> bool:
    lines = Path(f"/proc/{pid}/status").read_text().splitlines()
    caught = next(line.split()[1] for line in lines if line.startswith("SigCgt:"))
    return bool(int(caught, 16) >> (number - 1) & 1)


async def test_stop_pause_restart(bench: Bench) -> None:
    script = 'trap "exit 5" TERM; while :; do sleep 0.1; done'
    container = await bench.start("sh", "-c", script)
    await bench.engine.containers.pause(container)
    with pytest.raises(Conflict, match="already paused"):
        await bench.engine.containers.pause(container)
    await bench.engine.containers.unpause(container)
    await bench.engine.containers.restart(container)
    first = await bench.engine.containers.get(container)
    assert first.state.status is Status.RUNNING
    while not _catches(first.state.pid, signal.SIGTERM):  # the shell has come to its trap
        await asyncio.sleep(0.01)
    await bench.engine.containers.stop(container)
    assert (await bench.engine.containers.get(container)).state.exit_code == 5
    await bench.engine.containers.start(container)
    await bench.engine.containers.pause(container)
    await bench.engine.containers.kill(container)
    assert (await bench.engine.containers.get(container)).state.exit_code == 137


async def test_files(bench: Bench) -> None:
    containers = bench.engine.containers
    container = await bench.start("sh", "-c", "echo x >/tmp/new; rm /data/given; sleep 600")
    while not [c for c in await containers.changes(container) if c.path == "/data/given"]:
        await asyncio.sleep(0.01)
    kinds = {change.path: change.kind for change in await containers.changes(container)}
    assert kinds == {"/data": 0, "/data/given": 2, "/tmp": 0, "/tmp/new": 1}
    stat, stream = await containers.archive_get(container, "/tmp/new")
    assert (stat.name, stat.size) == ("new", 2)
    with tarfile.open(fileobj=io.BytesIO(b"".join([c async for c in stream]))) as tar:
        assert tar.getnames() == ["new"]
    await containers.archive_put(container, "/root", one_file("put", b"it"), ArchivePut())
    assert (await containers.archive_stat(container, "/root/put")).size == 2
    with pytest.raises(NotFound, match="Could not find the file /nope in container"):
        await containers.archive_stat(container, "/nope")
    await containers.kill(container)
    assert (await containers.archive_stat(container, "/root/put")).size == 2
    stream = await containers.export(container)
    with tarfile.open(fileobj=io.BytesIO(b"".join([c async for c in stream]))) as tar:
        names = tar.getnames()
    assert "root/put" in names
    assert "data/given" not in names


async def one_file(name: str, content: bytes) -> AsyncIterator[bytes]:
    """A tar of one file."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        entry = tarfile.TarInfo(name)
        entry.size = len(content)
        tar.addfile(entry, io.BytesIO(content))
    yield out.getvalue()


async def test_commit(bench: Bench) -> None:
    container = await bench.start("sh", "-c", "echo kept >/kept")
    waiter = await bench.engine.containers.wait(container)
    await waiter.result()
    image = await bench.engine.containers.commit(
        container, CommitOptions(reference="made:1", changes=('CMD ["cat", "/kept"]',))
    )
    assert bench.engine.images.resolve("made:1").id == image
    made, _ = await bench.engine.containers.create(ContainerSpec(image="made:1"))
    await bench.engine.containers.start(made)
    await (await bench.engine.containers.wait(made)).result()
    lines = await bench.engine.containers.logs(made, LogOptions())
    assert [entry.data async for batch in lines for entry in batch] == [b"kept\n"]


async def test_volumes(bench: Bench, tmp_path: Path) -> None:
    volume = MountSpec(type="volume", source="vol", target="/data")
    _, out, err = await bench.run("sh", "-c", "cat /data/given; echo 2 >/data/2", mounts=(volume,))
    assert out == b"by the image\n", err
    _, out, _ = await bench.run(
        "cat", "/v/2", mounts=(MountSpec(type="volume", source="vol", target="/v", read_only=True),)
    )
    assert out == b"2\n"
    bind = MountSpec(type="bind", source=str(tmp_path / "made"), target="/b", create_source=True)
    await bench.run("touch", "/b/x", mounts=(bind,))
    assert (tmp_path / "made/x").exists()
    _, _, err = await bench.run(
        "touch", "/v/y", mounts=(MountSpec(type="tmpfs", target="/v", read_only=True),)
    )
    assert b"Read-only" in err
    _, _, err = await bench.run("touch", "/y", read_only_rootfs=True)
    assert b"Read-only" in err


async def counters(bench: Bench, container: str) -> Stats:
    async with aclosing(await bench.engine.containers.stats(container)) as samples:
        sample = await anext(samples)
    assert sample.now is not None
    return sample.now


async def test_limits(bench: Bench) -> None:
    resources = Resources(memory=64 << 20, nano_cpus=500_000_000, pids_limit=50)
    container = await bench.start("sleep", "600", resources=resources)
    stats = await counters(bench, container)
    assert (stats.memory_limit, stats.pids_limit, stats.pids_current) == (64 << 20, 50, 1)
    assert "eth0" in stats.networks
    await bench.engine.containers.update(
        container, UpdateOptions(resources=Resources(memory=96 << 20, memory_swap=-1))
    )
    stats = await counters(bench, container)
    assert stats.memory_limit == 96 << 20
    table = await bench.engine.containers.top(container)
    assert len(table.processes) == 1
    with pytest.raises(InvalidParameter, match="Minimum memory limit"):
        await bench.engine.containers.update(
            container, UpdateOptions(resources=Resources(memory=1))
        )


async def test_out_of_memory_is_said(bench: Bench) -> None:
    script = "x=a; while :; do x=$x$x; done"
    container = await bench.start(
        "sh", "-c", script, resources=Resources(memory=16 << 20, memory_swap=16 << 20)
    )
    await (await bench.engine.containers.wait(container)).result()
    state = (await bench.engine.containers.get(container)).state
    assert (state.exit_code, state.oom_killed) == (137, True)


async def test_shared_namespaces_and_volumes(bench: Bench) -> None:
    volume = MountSpec(type="volume", source="shared", target="/v")
    first = await bench.start(
        "sh",
        "-c",
        "echo x >/dev/shm/x; echo v >/v/v; sleep 600",
        ipc_mode="shareable",
        mounts=(volume,),
        name="first",
    )
    joined = {"ipc_mode": "container:first", "pid_mode": "container:first"}
    script = "until cat /dev/shm/x; do sleep 0.01; done; cat /v/v; readlink /proc/self/ns/ipc"
    _, out, err = await bench.run("sh", "-c", script, volumes_from=("first:ro",), **joined)
    pid = (await bench.engine.containers.get(first)).state.pid
    assert out.decode().splitlines() == ["x", "v", os.readlink(f"/proc/{pid}/ns/ipc")], err
    await bench.engine.containers.kill(first)
    with pytest.raises(Conflict, match="cannot join namespace of a non running container"):
        await bench.run("true", pid_mode="container:first")


async def test_restart_policy_with_real_processes(bench: Bench) -> None:
    policy = RestartPolicy(name="on-failure", max_retries=2)
    container = await bench.start("sh", "-c", "echo x >>/tmp/runs; exit 3", restart=policy)
    stream = bench.engine.events.stream(since=1, filters={"event": ("die",)})
    for _ in range(3):
        await anext(stream)
    state = (await bench.engine.containers.get(container)).state
    assert (state.status, state.restart_count, state.exit_code) == (Status.EXITED, 2, 3)
    assert (await bench.engine.containers.archive_stat(container, "/tmp/runs")).size == 6


DAEMON = """
import asyncio, sys
sys.path[:0] = {path!r}
from engine.real import Bench
from ketch.engine.containers.spec import ContainerSpec
from ketch.daemon.settings import Settings
import msgspec

async def main():
    bench = Bench(msgspec.json.decode({settings!r}, type=Settings))
    await bench.open()
    await bench.add_image()
    for name, script in (("talker", "while read x; do echo $x; done; exit 9"),
                         ("short", "read x; exit 4")):
        spec = ContainerSpec(image="box",
            cmd=("sh", "-c", script), open_stdin=True, stdin_once=True)
        container, _ = await bench.engine.containers.create(spec, name)
        await bench.engine.containers.start(container)
    await bench.engine.containers.create(ContainerSpec(image="box", cmd=("true",)), "created")
    print("up", flush=True)
    await asyncio.sleep(3600)

asyncio.run(main())
"""


async def test_a_killed_daemon_loses_nothing(tmp_path: Path) -> None:
    """kill -9 of the process that holds the engine; another adopts what runs."""
    import msgspec

    settings = settings_below(tmp_path)
    code = DAEMON.format(path=sys.path, settings=msgspec.json.encode(settings))
    async with asyncio.timeout(60), cleaned(settings):
        async with killed_daemon(code) as daemon:
            assert daemon.stdout is not None
            assert await daemon.stdout.readline() == b"up\n"
        async with opened(settings) as bench:
            await _adopted(bench)


async def _adopted(bench: Bench) -> None:
    containers = bench.engine.containers
    assert (await containers.get("created")).state.status is Status.CREATED
    assert (await containers.get("talker")).state.status is Status.RUNNING
    waiter = await containers.wait("talker", WaitCondition.NEXT_EXIT)
    ours, theirs = socket.socketpair()
    with ours:
        await containers.attach("talker", AttachOptions(sock=theirs, stdin=True, stdout=True))
        ours.send(b"hello\n")
        await containers.kill("short")
        assert (await containers.get("short")).state.exit_code == 137
        ours.shutdown(socket.SHUT_WR)
        assert unframed(await read_all(ours)) == {1: b"hello\n"}
    assert (await waiter.result()).status == 9
    entries = await containers.logs("talker", LogOptions())
    assert [entry.data async for batch in entries for entry in batch] == [b"hello\n"]


async def test_default_seccomp_and_capabilities(bench: Bench) -> None:
    _, out, _ = await bench.run("grep", "-E", "Seccomp:|CapEff|NoNewPrivs", "/proc/self/status")
    assert out.split() == b"CapEff: 00000000a80425fb NoNewPrivs: 0 Seccomp: 2".split()
    _, out, _ = await bench.run(
        "grep",
        "-E",
        "Seccomp:|CapEff|NoNewPrivs",
        "/proc/self/status",
        security_options=("seccomp=unconfined", "no-new-privileges"),
        cap_drop=("ALL",),
        cap_add=("CHOWN",),
    )
    assert out.split() == b"CapEff: 0000000000000001 NoNewPrivs: 1 Seccomp: 0".split()
    with pytest.raises(InvalidParameter, match="seccomp profile"):
        await bench.run("true", security_options=("seccomp={",))


async def test_a_killed_launcher_takes_nothing_along(bench: Bench) -> None:
    container = await bench.start("sleep", "600")
    launcher = await Launcher.connect(bench.settings.exec_root)
    pid = (await launcher.hello())["pid"]
    launcher.close()
    os.kill(pid, signal.SIGKILL)
    await wait_for_death(pid)
    assert (await bench.run("echo", "on"))[:2] == (0, b"on\n")
    assert (await bench.engine.containers.get(container)).state.status is Status.RUNNING
    await bench.engine.containers.kill(container)
    assert (await bench.engine.containers.get(container)).state.exit_code == 137


async def test_a_start_that_fails_early_gives_its_warm_sandbox_back(
    bench: Bench, tmp_path: Path
) -> None:
    """What is wrong is found after a sandbox was taken and before the launcher has it."""
    source = tmp_path / "source"
    source.mkdir()
    mount = MountSpec(type="bind", source=str(source), target="/m")
    container, _ = await bench.engine.containers.create(
        ContainerSpec(image="box", cmd=("true",), mounts=(mount,)), ""
    )
    source.rmdir()
    parts = bench.engine.parts
    for _ in range(3):
        while len(parts.pool._ready) < parts.config.pool_size:
            await asyncio.sleep(0.01)
        with pytest.raises(KetchError, match="bind source path does not exist"):
            await bench.engine.containers.start(container)
    while len(parts.pool._ready) < parts.config.pool_size:
        await asyncio.sleep(0.01)
    assert len((await parts.launcher.hello())["warm"]) == parts.config.pool_size


@pytest.mark.parametrize("begun", [False, True])
async def test_a_start_whose_shim_dies(bench: Bench, begun: bool) -> None:
    """Killed when its warm sandbox has the START and its cgroup the container's name. If it had
    begun, the start fails and leaves no cgroup; if not, another does it."""
    container, _ = await bench.engine.containers.create(
        ContainerSpec(image="box", cmd=("true",)), ""
    )
    parts = bench.engine.parts
    while len(parts.pool._ready) < parts.config.pool_size:
        await asyncio.sleep(0.01)
    parent = parts.config.cgroup_parent
    first = Cgroup(parent, parts.pool._ready[-1].id).pids()[0]
    makers = fitters((await parts.launcher.hello())["pid"])
    for maker in makers:
        os.kill(maker, signal.SIGSTOP)
    starting = asyncio.create_task(bench.engine.containers.start(container))
    while not (named := Cgroup(parent, container).pids()):
        await asyncio.sleep(0.005)
    assert named == [first]
    place = Path(parts.config.shim_socket(container))
    if begun:
        place.touch()
    os.kill(int(Path(f"/proc/{first}/stat").read_text().rpartition(")")[2].split()[1]), 9)
    while Path(f"/proc/{first}").exists():
        await asyncio.sleep(0.005)
    for maker in makers:  # the one of the dead shim has a signal waiting that ends it
        os.kill(maker, signal.SIGCONT)
    if begun:
        with pytest.raises(Unavailable):
            await starting
        place.unlink()
    else:
        await starting
        assert (await (await bench.engine.containers.wait(container)).result()).status == 0
    while not begun and [*Path("/sys/fs/cgroup").glob(f"*{parent}/{container}")]:
        await asyncio.sleep(0.005)
    assert not [*Path("/sys/fs/cgroup").glob(f"*{parent}/{container}")]
