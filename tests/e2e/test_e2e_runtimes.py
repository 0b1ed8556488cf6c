"""Containers run by external OCI runtimes: runc, crun, and ketch-runtime as if it were foreign."""

from __future__ import annotations

import json
import os
import shutil
import signal
import subprocess
import sys
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root

# crun refuses hybrid cgroups with controllers on the v2 side; this hides that side from it.
_WITHOUT_HYBRID = """#!/bin/sh
exec unshare -m sh -c 'umount /sys/fs/cgroup/unified; exec crun "$@"' crun "$@"
"""


@pytest.fixture(scope="module")
def engine() -> Iterator[Ketchd]:
    """A daemon that knows the runtimes ``runc`` (by itself), ``crun`` and ``foreign``."""
    folder = Path(tempfile.mkdtemp(prefix="ketch-e2e-"))
    daemon = Ketchd(folder)
    runtimes = {"foreign": {"path": str(Path(sys.executable).with_name("ketch-runtime"))}}
    runtimes["broken"] = {"path": "/nowhere/runtime"}
    if Path("/sys/fs/cgroup/unified").is_mount():
        (folder / "crun").write_text(_WITHOUT_HYBRID)
        (folder / "crun").chmod(0o755)
        runtimes["crun"] = {"path": str(folder / "crun")}
    (folder / "daemon.json").write_text(json.dumps({"runtimes": runtimes}))
    try:
        daemon.start()
        load_busybox(daemon)
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
        forgotten(daemon)
    finally:
        clean_up(daemon)


@pytest.fixture(params=["runc", "crun", "foreign"])
def runtime(request: pytest.FixtureRequest) -> str:
    """Its name."""
    if request.param != "foreign" and shutil.which(request.param) is None:
        pytest.fail(f"needs {request.param}: scripts/setup.sh test")
    return str(request.param)


@pytest.fixture
def box(engine: Ketchd, runtime: str) -> Iterator[str]:
    """The name of a container that is gone afterwards."""
    yield f"box-{runtime}"
    engine.docker("rm", "-fv", f"box-{runtime}", code=None)


def records(engine: Ketchd) -> list[str]:
    """What runtimes still know of containers."""
    return [str(path) for path in (engine.run / "runtimes").glob("*/*/[!.]*")]


def forgotten(engine: Ketchd) -> None:
    """They know of none, as soon as the shims have left."""
    wait_for(lambda: not records(engine), "a runtime still knows a container")


def state(engine: Ketchd, box: str) -> dict[str, object]:
    return dict(json.loads(engine.out("inspect", box))[0]["State"])


def test_run(engine: Ketchd, runtime: str) -> None:
    script = "cat; echo err >&2; id -u; pwd; hostname; exit 3"
    done = engine.docker(
        "run", "--rm", "-i", "--runtime", runtime, "-u", "guest", "-w", "/tmp/new", "--hostname",
        "h1", "busybox", "sh", "-c", script, input=b"in\n", code=3,
    )  # fmt: skip
    assert done.stdout == b"in\n1000\n/tmp/new\nh1\n"
    assert done.stderr == b"err\n"


def test_the_sandbox_is_confined(engine: Ketchd, runtime: str) -> None:
    """The same capabilities and a seccomp filter that refuses what ours refuses."""
    script = (
        "grep -E '^(CapBnd|Seccomp):' /proc/self/status | tr -d '\\t'; ls /proc/self/fd | wc -l;"
        "unshare -U true 2>/dev/null || echo refused; cat /proc/keys | wc -c"
    )
    shown = engine.out("run", "--rm", "--runtime", runtime, "busybox", "sh", "-c", script)
    assert shown.split() == ["CapBnd:00000000a80425fb", "Seccomp:2", "4", "refused", "0"]


@pytest.mark.parametrize(("command", "code"), [("nosuch", 127), ("/etc/passwd", 126)])
def test_what_cannot_be_executed(engine: Ketchd, runtime: str, command: str, code: int) -> None:
    done = engine.docker("run", "--rm", "--runtime", runtime, "busybox", command, code=code)
    assert b"OCI runtime create failed" in done.stderr
    forgotten(engine)


def test_terminal(engine: Ketchd, runtime: str) -> None:
    with engine.terminal("run", "--rm", "-it", "--runtime", runtime, "busybox", "sh") as session:
        session.expect("# ")
        session.send(b"tty; exit 5\n")
        session.expect("/dev/pts/0")
        assert session.wait() == 5


def test_exec(engine: Ketchd, runtime: str, box: str) -> None:
    engine.docker("run", "-d", "--runtime", runtime, "--name", box, "busybox", "sleep", "600")
    shown = engine.out("exec", "-u", "guest", "-e", "A=b", box, "sh", "-c", "id -u; echo $A")
    assert shown == "1000\nb"
    assert engine.docker("exec", "-i", box, "cat", input=b"data").stdout == b"data"
    engine.docker("exec", box, "sh", "-c", "exit 4", code=4)
    engine.docker("exec", box, "nosuch", code=127)
    with engine.terminal("exec", "-it", box, "sh") as session:
        session.expect("# ")
        session.send(b"exit 6\n")
        assert session.wait() == 6


def test_life(engine: Ketchd, runtime: str, box: str) -> None:
    """Pause, stop, start again, kill, logs, limits, ports, and the runtime in inspect and info."""
    script = "echo up; trap 'exit 7' TERM; while :; do sleep 0.1; done"
    engine.docker(
        "run", "-d", "--runtime", runtime, "--name", box, "-m", "64m", "--pids-limit", "50", "-p",
        "127.0.0.1::80", "busybox", "sh", "-c", script,
    )  # fmt: skip
    found = json.loads(engine.out("inspect", box))[0]
    assert found["HostConfig"]["Runtime"] == runtime
    assert found["NetworkSettings"]["Ports"]["80/tcp"][0]["HostIp"] == "127.0.0.1"
    assert runtime in json.loads(engine.out("info", "-f", "{{json .Runtimes}}"))
    limit = engine.out("exec", box, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    assert int(limit) == 64 << 20
    engine.docker("update", "-m", "80m", "--memory-swap", "80m", box)
    limit = engine.out("exec", box, "cat", "/sys/fs/cgroup/memory/memory.limit_in_bytes")
    assert int(limit) == 80 << 20
    engine.docker("pause", box)
    assert state(engine, box)["Status"] == "paused"
    engine.docker("unpause", box)
    engine.docker("stop", box)
    assert state(engine, box)["ExitCode"] == 7
    engine.docker("start", box)
    engine.docker("restart", "-t", "0", box)
    engine.docker("kill", box)
    assert engine.out("wait", box) == "137"
    assert engine.out("logs", box) == "up\nup\nup"
    forgotten(engine)


def test_network(engine: Ketchd, runtime: str, box: str) -> None:
    """A published port reaches a server inside."""
    engine.docker(
        "run", "-d", "--runtime", runtime, "--name", box, "-p", "127.0.0.1::80", "busybox",
        "sh", "-c", "echo hello >/tmp/index.html; exec httpd -f -h /tmp",
    )  # fmt: skip
    address = engine.out("port", box, "80/tcp")
    fetch = ["curl", "-s", "--retry", "5", "--retry-connrefused", f"http://{address}/"]
    assert subprocess.run(fetch, capture_output=True, check=True).stdout == b"hello\n"


def test_out_of_memory(engine: Ketchd, runtime: str, box: str) -> None:
    hog = "x=a; while :; do x=$x$x; done"
    engine.docker(
        "run", "--runtime", runtime, "--name", box, "-m", "16m", "--memory-swap", "16m",
        "busybox", "sh", "-c", hog, code=137,
    )  # fmt: skip
    assert state(engine, box)["OOMKilled"] is True


def test_the_daemon_is_killed(engine: Ketchd, runtime: str, box: str) -> None:
    script = "echo one; read x; echo got $x; exit 9"
    engine.docker("run", "-di", "--runtime", runtime, "--name", box, "busybox", "sh", "-c", script)
    before = state(engine, box)
    engine.stop(signal.SIGKILL)
    engine.start()
    assert state(engine, box)["Pid"] == before["Pid"]
    assert engine.out("exec", box, "echo", "alive") == "alive"
    assert engine.docker("attach", box, input=b"it\n", code=9).stdout == b"got it\n"
    assert engine.out("logs", box) == "one\ngot it"
    forgotten(engine)


def test_the_shim_is_killed(engine: Ketchd, runtime: str, box: str) -> None:
    """Nothing runs on without a supervisor, and it can be started again."""
    engine.docker("run", "-d", "--runtime", runtime, "--name", box, "busybox", "sleep", "600")
    pid = int(str(state(engine, box)["Pid"]))
    shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    assert Path(f"/proc/{shim}/comm").read_text() == "ketch-shim\n"
    os.kill(shim, signal.SIGKILL)
    wait_for(lambda: state(engine, box)["Status"] == "exited", "the end was not noticed")
    wait_for(lambda: not Path(f"/proc/{pid}/root").exists(), "it runs on")
    engine.docker("start", box)
    assert engine.out("exec", box, "echo", "again") == "again"


def test_shim_and_daemon_are_killed(engine: Ketchd, runtime: str, box: str) -> None:
    engine.docker("run", "-d", "--runtime", runtime, "--name", box, "busybox", "sleep", "600")
    pid = int(str(state(engine, box)["Pid"]))
    shim = int(Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[1])
    engine.stop(signal.SIGKILL)
    os.kill(shim, signal.SIGKILL)
    engine.start()
    assert state(engine, box)["Status"] == "exited"
    wait_for(lambda: not Path(f"/proc/{pid}/root").exists(), "it runs on")
    forgotten(engine)


def test_health_is_probed_through_the_runtime(engine: Ketchd, runtime: str, box: str) -> None:
    engine.docker(
        "run", "-d", "--runtime", runtime, "--name", box, "--health-cmd", "test -e /tmp",
        "--health-interval", "200ms", "busybox", "sleep", "600",
    )  # fmt: skip
    health = ("inspect", "-f", "{{.State.Health.Status}}", box)
    wait_for(lambda: engine.out(*health) == "healthy", "it did not become healthy")


def test_init(engine: Ketchd, runtime: str) -> None:
    """Process 1 is our init, also where programs are found by PATH."""
    words = ("run", "--rm", "--init", "--runtime", runtime, "busybox")
    script = "cat /proc/1/cmdline | tr '\\0' ' '; echo; exit 4"
    done = engine.docker(*words, "sh", "-c", script, code=4)
    assert done.stdout.startswith(b"/sbin/docker-init -- sh -c")
    engine.docker(*words, "nosuch", code=127)


def test_privileged_and_host_namespaces(engine: Ketchd, runtime: str, box: str) -> None:
    mine = Path("/proc/self/status").read_text().split("CapBnd:\t")[1].split()[0]
    show = ("grep", "CapEff", "/proc/self/status")
    words = ("run", "--rm", "--runtime", runtime)
    assert engine.out(*words, "--privileged", "busybox", *show) == f"CapEff:\t{mine}"
    shared = [f"--{kind}=host" for kind in ("network", "pid", "ipc", "uts", "cgroupns")]
    assert engine.out(*words, *shared, "busybox", "hostname") == os.uname().nodename
    engine.docker("run", "-d", "--runtime", runtime, "--name", box, "busybox", "sleep", "600")
    assert engine.out("exec", "--privileged", box, *show) == f"CapEff:\t{mine}"
    joined = [f"--{kind}=container:{box}" for kind in ("network", "pid")]
    assert "sleep 600" in engine.out(*words, *joined, "busybox", "ps")


def test_unknown_runtimes(engine: Ketchd) -> None:
    done = engine.docker("run", "--runtime", "nosuch", "busybox", "true", code=125)
    assert b"unknown or invalid runtime name: nosuch" in done.stderr
    done = engine.docker("run", "--runtime", "broken", "busybox", "true", code=125)
    assert b"/nowhere/runtime is not installed" in done.stderr
    assert engine.out("ps", "-aq") == ""


def test_docker_s_name_of_runc(engine: Ketchd) -> None:
    words = ("run", "--rm", "--runtime", "io.containerd.runc.v2", "busybox", "echo", "hi")
    assert engine.out(*words) == "hi"


def test_default_runtime(tmp_path: Path, engine: Ketchd) -> None:
    """``default-runtime`` counts for containers made from then on, until they are removed."""
    engine.docker("create", "--name", "old", "busybox", "true")
    engine.options["default-runtime"] = "runc"
    try:
        engine.stop()
        engine.start()
        assert engine.out("info", "-f", "{{.DefaultRuntime}}") == "runc"
        engine.docker("create", "--name", "new", "busybox", "echo", "by runc")
        assert engine.out("start", "-a", "new") == "by runc"
        shown = engine.out("inspect", "-f", "{{.HostConfig.Runtime}}", "old", "new")
        assert shown.split() == ["ketch", "runc"]
    finally:
        engine.docker("rm", "-f", "old", "new", code=None)
        del engine.options["default-runtime"]
        engine.stop()
        engine.start()


def test_mounts_that_only_we_can_make(engine: Ketchd, runtime: str, box: str) -> None:
    """Images and paths in volumes are put where the runtime finds them."""
    run = ("run", "--rm", "--runtime", runtime)
    volume = f"volume-{runtime}"
    engine.docker(*run, "-v", f"{volume}:/v", "busybox", "sh", "-c", "mkdir /v/a; echo x > /v/a/f")
    mounts = (
        "--mount", "type=image,src=busybox,dst=/i,image-subpath=etc/passwd",
        "--mount", "type=image,src=busybox,dst=/j",
        "--mount", f"type=volume,src={volume},dst=/s,volume-subpath=a,readonly",
    )  # fmt: skip
    script = "grep -c guest /i; ls /j/bin/busybox; cat /s/f; touch /s/x || touch /j/x"
    done = engine.docker(*run, "--name", box, *mounts, "busybox", "sh", "-c", script, code=1)
    assert done.stdout.split() == [b"1", b"/j/bin/busybox", b"x"]
    assert done.stderr.count(b"Read-only file system") == 2
    engine.docker("volume", "rm", volume)
    wait_for(lambda: not records(engine), "the runtime still knows of it")


def test_shared_memory_of_another_container(engine: Ketchd, runtime: str, box: str) -> None:
    words = ("--name", box, "--runtime", runtime, "--ipc", "shareable", "--shm-size", "3m")
    engine.docker("run", "-d", *words, "busybox", "sleep", "600")
    script = "echo shared > /dev/shm/file; df -k /dev/shm"
    joined = ("--runtime", runtime, "--ipc", f"container:{box}", "busybox", "sh", "-c", script)
    assert " 3072 " in engine.out("run", "--rm", *joined)
    assert engine.out("exec", box, "cat", "/dev/shm/file") == "shared"


def test_devices_by_cdi_files(engine: Ketchd, runtime: str, box: str) -> None:
    """An external runtime runs all kinds of hooks."""
    folder = engine.folder / "cdi"
    folder.mkdir(exist_ok=True)
    said = engine.folder / f"said-{runtime}"
    kinds = ["createRuntime", *(["createContainer"] if runtime != "foreign" else [])]
    hooks = [
        {"hookName": kind, "path": "/bin/sh", "args": ["sh", "-c", f"echo {kind} >> {said}"]}
        for kind in kinds
    ]
    nodes = [{"path": "/dev/thing", "hostPath": "/dev/null"}]
    device = {"name": "x", "containerEdits": {"env": ["A=1"], "deviceNodes": nodes, "hooks": hooks}}
    spec = {"cdiVersion": "0.6.0", "kind": f"example.org/{runtime}", "devices": [device]}
    (folder / f"{runtime}.json").write_text(json.dumps(spec))
    words = ("--runtime", runtime, "--device", f"example.org/{runtime}=x", "busybox")
    out = engine.out("run", "--rm", "--name", box, *words, "sh", "-c", "echo $A > /dev/thing; env")
    assert "A=1" in out.split()
    assert said.read_text().split() == kinds


def test_a_relative_cgroup_parent_is_absolute(engine: Ketchd, runtime: str, box: str) -> None:
    parent = f"{engine.cgroup[1:]}/by-{runtime}"
    words = ("--runtime", runtime, "--cgroup-parent", parent, "busybox")
    out = engine.out("run", "--rm", "--name", box, "--cgroupns", "host", *words,
                     "cat", "/proc/self/cgroup")  # fmt: skip
    lines = [line for line in out.splitlines() if line.split(":")[1]]
    assert all(line.split(":")[2].startswith(f"/{parent}/") for line in lines)
    wait_for(lambda: not records(engine), "the runtime still knows of it")
    for folder in Path("/sys/fs/cgroup").glob(f"*/{parent}"):
        wait_for(lambda folder=folder: not list(folder.glob("*/")), "a cgroup stays")
        folder.rmdir()
