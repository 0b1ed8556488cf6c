"""A process of ours is killed or stopped: `ps` is right within five seconds, and all goes on."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import time
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, is_zombie, parent_of, wait_for

pytestmark = pytest.mark.root

SOON = 5.0  # seconds


def state(ketchd: Ketchd, name: str) -> dict[str, object]:
    return dict(json.loads(ketchd.out("inspect", name))[0]["State"])


def pid_of(ketchd: Ketchd, name: str) -> int:
    return int(str(state(ketchd, name)["Pid"]))


def status(ketchd: Ketchd, name: str) -> str:
    return ketchd.out("ps", "-a", "--filter", f"name={name}", "--format", "{{.State}}")


def launcher_pid(ketchd: Ketchd) -> int:
    return int((ketchd.run / "launcher.pid").read_text())


def test_shim_killed(ketchd: Ketchd, name: str) -> None:
    """The kernel kills its container; the record says so, and it can be started again."""
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    pid = pid_of(ketchd, name)
    os.kill(parent_of(pid), signal.SIGKILL)
    wait_for(lambda: status(ketchd, name) == "exited", "ps does not know", SOON)
    wait_for(lambda: is_zombie(str(pid)), "the container runs on", SOON)
    assert state(ketchd, name)["ExitCode"] == 137
    ketchd.docker("start", name)
    assert ketchd.out("exec", name, "echo", "again") == "again"


def test_shim_of_a_container_with_a_policy_killed(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--restart", "always", "--name", name, "busybox", "sleep", "600")
    pid = pid_of(ketchd, name)
    os.kill(parent_of(pid), signal.SIGKILL)
    wait_for(lambda: pid_of(ketchd, name) not in (0, pid), "it was not started again", SOON)
    assert status(ketchd, name) == "running"


def test_launcher_killed(ketchd: Ketchd, name: str) -> None:
    """Containers and their clients do not notice; the next request starts a new one."""
    words = ("run", "-i", "--name", name, "busybox", "cat")
    attached = ketchd.popen(*words, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    wait_for(lambda: status(ketchd, name) == "running", "it did not start")
    before, pid = launcher_pid(ketchd), pid_of(ketchd, name)
    os.kill(before, signal.SIGKILL)
    begun = time.monotonic()
    assert ketchd.out("run", "--rm", "busybox", "echo", "works") == "works"
    assert ketchd.out("exec", name, "echo", "too") == "too"
    assert time.monotonic() - begun < SOON
    assert launcher_pid(ketchd) != before
    assert pid_of(ketchd, name) == pid
    assert attached.communicate(b"still here\n", timeout=120)[0] == b"still here\n"
    wait_for(lambda: status(ketchd, name) == "exited", "the end was not seen", SOON)


def test_zygote_killed(ketchd: Ketchd, name: str) -> None:
    children = f"/proc/{launcher_pid(ketchd)}/task/{launcher_pid(ketchd)}/children"
    zygote = next(
        int(pid)
        for pid in Path(children).read_text().split()
        if Path(f"/proc/{pid}/comm").read_text() == "ketch-zygote\n"
    )
    os.kill(zygote, signal.SIGKILL)
    wait_for(
        lambda: ketchd.docker("run", "--rm", "busybox", "true", code=None).returncode == 0,
        "no new launcher took over",
        SOON,
    )


def test_daemon_stopped(ketchd: Ketchd, name: str) -> None:
    """What happened while it stood still is on record soon after."""
    script = "while :; do echo tick; sleep 0.05; done & read x; echo $x; exit 5"
    ketchd.docker("run", "-di", "--name", name, "busybox", "sh", "-c", script)
    attached = ketchd.popen("attach", name, stdin=subprocess.PIPE, stdout=subprocess.PIPE)
    assert attached.stdout is not None
    assert attached.stdout.readline() == b"tick\n"
    pid = pid_of(ketchd, name)
    assert ketchd.process is not None
    ketchd.process.send_signal(signal.SIGSTOP)
    try:
        assert attached.stdin is not None
        attached.stdin.write(b"to the shim\n")
        attached.stdin.flush()
        assert b"to the shim\n" in iter(attached.stdout.readline, b"")
        wait_for(lambda: is_zombie(str(pid)), "it did not end")
    finally:
        ketchd.process.send_signal(signal.SIGCONT)
    wait_for(lambda: status(ketchd, name) == "exited", "ps does not know", SOON)
    assert state(ketchd, name)["ExitCode"] == 5
    attached.communicate(timeout=60)
