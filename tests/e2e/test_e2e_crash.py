"""The daemon may be killed at any instant: containers live on and are adopted."""

from __future__ import annotations

import json
import os
import signal
import socket
import subprocess
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, wait_for
from ketch.runtime.cgroups.group import Cgroup

pytestmark = pytest.mark.root


def crash(ketchd: Ketchd) -> None:
    ketchd.stop(signal.SIGKILL)
    ketchd.start()


def state(ketchd: Ketchd, name: str) -> dict[str, object]:
    found = json.loads(ketchd.out("inspect", name))[0]["State"]
    assert isinstance(found, dict)
    return found


def test_running_containers_are_adopted(ketchd: Ketchd, name: str) -> None:
    command = "echo before; read x; echo got $x; exit 6"
    ketchd.docker("run", "-di", "--name", name, "busybox", "sh", "-c", command)
    before = state(ketchd, name)
    crash(ketchd)
    after = state(ketchd, name)
    assert after["Running"] is True
    assert (after["Pid"], after["StartedAt"]) == (before["Pid"], before["StartedAt"])
    assert ketchd.out("exec", name, "echo", "alive") == "alive"
    waiter = ketchd.popen("wait", name, stdout=subprocess.PIPE)
    done = ketchd.docker("attach", name, input=b"input\n", code=6)
    assert done.stdout == b"got input\n"
    assert waiter.communicate(timeout=60)[0] == b"6\n"
    assert ketchd.out("logs", name) == "before\ngot input"


def group_of(pid: object) -> Cgroup:
    lines = [line.split(":", 2) for line in Path(f"/proc/{pid}/cgroup").read_text().splitlines()]
    path = next(path for _, names, path in lines if names in ("freezer", ""))
    return Cgroup(*os.path.split(path))


def test_a_daemon_killed_while_it_commits(ketchd: Ketchd, name: str) -> None:
    """It had stopped the container for that, or was about to pause it: the record counts."""
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    group = group_of(state(ketchd, name)["Pid"])
    group.freeze()
    crash(ketchd)
    assert ketchd.out("exec", name, "echo", "goes on", timeout=20) == "goes on"
    ketchd.docker("pause", name)
    group.freeze(False)
    crash(ketchd)
    assert group.is_frozen()
    assert state(ketchd, name)["Status"] == "paused"
    ketchd.docker("unpause", name)
    assert not group.is_frozen()


def test_exit_while_the_daemon_is_away(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sh", "-c", "sleep 0.5; exit 44")
    pid = state(ketchd, name)["Pid"]
    ketchd.stop(signal.SIGKILL)
    wait_for(lambda: not _alive(int(str(pid))), "the container did not end")
    ketchd.start()
    wait_for(lambda: state(ketchd, name)["Status"] == "exited", "the exit was not recorded")
    assert state(ketchd, name)["ExitCode"] == 44


def _alive(pid: int) -> bool:
    try:
        with open(f"/proc/{pid}/stat") as file:
            return file.read().rpartition(")")[2].split()[0] != "Z"
    except OSError:
        return False


def test_rm_is_done_after_the_crash(ketchd: Ketchd, name: str) -> None:
    """--rm holds although the daemon that promised it is gone."""
    ketchd.docker("run", "-d", "--rm", "--name", name, "busybox", "sleep", "600")
    crash(ketchd)
    ketchd.docker("stop", "-t", "0", name)
    wait_for(
        lambda: ketchd.docker("inspect", name, code=None).returncode == 1, "it was not removed"
    )


def test_an_attached_connection_survives(ketchd: Ketchd, name: str) -> None:
    """It is the shim's: the daemon's death does not cut it. (The CLI gives up by itself, since its
    wait is cut.)"""
    ketchd.docker("run", "-di", "--name", name, "busybox", "cat")
    with socket.socket(socket.AF_UNIX) as sock:
        sock.settimeout(20)
        sock.connect(str(ketchd.socket))
        path = f"/containers/{name}/attach?stream=1&stdin=1&stdout=1"
        sock.sendall(f"POST {path} HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n\r\n".encode())
        head = b""
        while not head.endswith(b"\r\n\r\n"):
            head += sock.recv(1)
        sock.sendall(b"one\n")
        assert sock.recv(64) == b"\x01\0\0\0\0\0\0\x04one\n"
        crash(ketchd)
        sock.sendall(b"two\n")
        assert sock.recv(64) == b"\x01\0\0\0\0\0\0\x04two\n"
        ketchd.docker("stop", "-t", "0", name)
        assert sock.recv(64) == b""
    assert ketchd.out("logs", name) == "one\ntwo"


def test_graceful_stop_leaves_containers(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "busybox", "sleep", "600")
    assert ketchd.stop(signal.SIGTERM) == 0
    ketchd.start()
    assert state(ketchd, name)["Running"] is True


def test_a_second_daemon_on_the_same_roots_refuses(ketchd: Ketchd) -> None:
    import sys

    done = subprocess.run(
        [sys.executable, "-m", "ketch.daemon", *ketchd.flags()],
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 1
    assert "another ketchd (pid" in done.stderr
