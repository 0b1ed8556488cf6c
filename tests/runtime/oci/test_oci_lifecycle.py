"""``ketch-runtime``: create, start, state, kill, delete with real containers."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from pathlib import Path

import pytest
from oci_machine import Machine

pytestmark = pytest.mark.root


def test_create_start_kill_delete(oci: Machine, tmp_path: Path) -> None:
    out = tmp_path / "out"
    oci.create("a", "sh", "-c", "echo $$; exec sleep 600", output=out)
    state = oci.state("a")
    assert state["status"] == "created"
    assert out.read_bytes() == b""
    oci.ok("start", "a")
    assert oci.state("a") == {**state, "status": "running"}
    assert oci.call("delete", "a").returncode == 1
    assert oci.last_error() == "cannot delete container a that is not stopped: running"
    oci.ok("kill", "a", "KILL")
    assert oci.until("a", "stopped")["pid"] == 0
    assert out.read_bytes() == b"1\n"
    assert oci.call("kill", "a").returncode == 1
    assert oci.last_error() == "container not running"
    oci.ok("delete", "a")
    assert not oci.leftovers()
    assert not (oci.root / "a").exists()


@pytest.mark.parametrize("command", ["start", "state", "kill", "delete", "exec", "ps", "pause"])
def test_missing_container(oci: Machine, command: str) -> None:
    words = ["exec", "nobody", "true"] if command == "exec" else [command, "nobody"]
    assert oci.call(*words).returncode == 1
    assert oci.last_error() == 'container "nobody" does not exist'


def test_forced_delete_of_missing_is_no_error(oci: Machine) -> None:
    oci.ok("delete", "--force", "nobody")


def test_deleted_before_start_or_while_running(oci: Machine) -> None:
    oci.create("a", "sleep", "600")
    oci.ok("delete", "a")
    oci.create("b", "sleep", "600")
    oci.ok("start", "b")
    oci.ok("pause", "b")
    assert oci.state("b")["status"] == "paused"
    oci.ok("delete", "-f", "b")
    assert not oci.leftovers()


def test_id_is_taken_and_checked(oci: Machine) -> None:
    oci.create("a", "sleep", "600")
    assert oci.call("create", *oci.write("a", "true"), "a").returncode == 1
    assert "already exists" in oci.last_error()
    assert oci.state("a")["status"] == "created"
    for bad in ("../x", "a/b", "..", ""):
        assert oci.call("create", *oci.write("a", "true"), bad).returncode == 1


def test_start_twice(oci: Machine) -> None:
    oci.create("a", "sleep", "600")
    oci.ok("start", "a")
    assert oci.call("start", "a").returncode == 1
    assert "cannot start" in oci.last_error()


def test_program_that_is_missing(oci: Machine) -> None:
    oci.create("a", "nonesuch")
    assert oci.call("start", "a").returncode == 1
    assert oci.last_error() == 'exec: "nonesuch": executable file not found in $PATH'
    assert oci.until("a", "stopped")


def test_failed_create_leaves_nothing(oci: Machine) -> None:
    oci.spec["mounts"].append({"destination": "/x", "type": "nofs", "source": "x", "options": []})
    assert oci.call("create", *oci.write("a", "true"), "a").returncode == 1
    assert "nofs" in oci.last_error()
    assert not oci.leftovers()
    assert not (oci.root / "a").exists()


def test_creator_killed_midway(oci: Machine, tmp_path: Path) -> None:
    """What an unfinished create leaves is dead, named as such, and can be deleted."""
    fifo = tmp_path / "fifo"
    os.mkfifo(fifo)
    hook = tmp_path / "hook"
    hook.write_text(f"#!/bin/sh\necho > {fifo}\nexec sleep 600 <&- >&- 2>&-\n")
    hook.chmod(0o755)
    oci.spec["hooks"] = {"createRuntime": [{"path": str(hook)}]}
    process = subprocess.Popen(oci.command("create", *oci.write("a", "true"), "a"))
    fifo.read_bytes()
    assert oci.state("a")["status"] == "creating"
    children = Path(f"/proc/{process.pid}/task/{process.pid}/children").read_text().split()
    process.kill()
    process.wait()
    oci.until("a", "stopped")
    oci.ok("delete", "a")
    assert not oci.leftovers()
    for pid in map(int, children):
        try:
            os.kill(pid, signal.SIGKILL)
        except ProcessLookupError:
            continue


def test_cgroup_of_others_is_refused(oci: Machine) -> None:
    oci.create("a", "sleep", "600")
    flags = oci.write("a", "true")  # the cgroup of a
    assert oci.call("create", *flags, "b").returncode == 1
    assert "is not empty" in oci.last_error()
    assert oci.state("a")["status"] == "created"


def test_pid_file_list_and_ps(oci: Machine, tmp_path: Path) -> None:
    flags = oci.write("a", "sleep", "600")
    subprocess.run(
        oci.command("create", *flags, "--pid-file", str(tmp_path / "pid"), "a"),
        check=True,
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    pid = int((tmp_path / "pid").read_text())
    assert oci.state("a")["pid"] == pid
    assert oci.ok("list", "-q") == "a\n"
    assert json.loads(oci.ok("list", "--format=json"))[0]["id"] == "a"
    assert json.loads(oci.ok("ps", "--format", "json", "a")) == [pid]
    assert str(pid) in oci.ok("ps", "a")


def test_update_and_kill_all(oci: Machine) -> None:
    oci.create("a", "sleep", "600")
    oci.ok("start", "a")
    oci.ok("update", "--resources", "-", "a", input='{"memory": {"limit": 67108864}}')
    found = list(Path("/sys/fs/cgroup").glob(f"memory{oci.cgroup}/a/memory.limit_in_bytes"))
    assert [path.read_text() for path in found] in ([], ["67108864\n"])
    oci.ok("kill", "--all", "a", "9")
    oci.until("a", "stopped")
    oci.ok("kill", "--all", "a", "9")
