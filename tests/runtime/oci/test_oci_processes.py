"""``ketch-runtime``: run, exec, terminals, hooks, fds, user namespaces, seccomp."""

from __future__ import annotations

import array
import json
import os
import socket
from pathlib import Path

import pytest
from oci_machine import Machine

pytestmark = pytest.mark.root


def test_run_passes_streams_and_status(oci: Machine) -> None:
    done = oci.call("run", *oci.write("a", "sh", "-c", "cat; echo e >&2; exit 3"), "a", input="in")
    assert (done.returncode, done.stdout, done.stderr) == (3, "in", "e\n")
    done = oci.call("run", *oci.write("a", "sh", "-c", "kill -9 $$"), "a")
    assert done.returncode in (0, 137)  # the first process of a pid namespace ignores itself
    assert not oci.leftovers()


def test_exec(oci: Machine, tmp_path: Path) -> None:
    oci.create("a", "sleep", "600")
    oci.ok("start", "a")
    assert (
        oci.ok("exec", "-e", "X=1", "--cwd", "/bin", "a", "sh", "-c", "echo $X $PWD") == "1 /bin\n"
    )
    assert "uid=5 gid=6" in oci.ok("exec", "--user", "5:6", "a", "id")
    assert oci.call("exec", "a", "sh", "-c", "exit 9").returncode == 9
    assert oci.call("exec", "a", "nonesuch").returncode == 255
    assert "executable file not found" in oci.last_error()
    file = tmp_path / "process.json"
    file.write_text(json.dumps({**oci.spec["process"], "args": ["echo", "file"]}))
    assert oci.ok("exec", "--process", str(file), "a") == "file\n"
    pid_file = tmp_path / "pid"
    detached = (
        "exec",
        "-d",
        "--pid-file",
        str(pid_file),
        "a",
        "sh",
        "-c",
        "exec sleep 600 >&- 2>&-",
    )
    oci.ok(*detached)
    assert int(pid_file.read_text()) in json.loads(oci.ok("ps", "--format", "json", "a"))


def receive_master(listener: socket.socket) -> int:
    connection, _ = listener.accept()
    with connection:
        _, ancillary, _, _ = connection.recvmsg(100, socket.CMSG_SPACE(4))
    return array.array("i", ancillary[0][2])[0]


def read_terminal(master: int) -> bytes:
    data = b""
    try:
        while chunk := os.read(master, 4096):
            data += chunk
    except OSError:
        pass
    os.close(master)
    return data


def test_terminal_by_console_socket(oci: Machine, tmp_path: Path) -> None:
    """The caller's pipes end with create: the container has nothing of them."""
    path = str(tmp_path / "console.sock")
    with socket.socket(socket.AF_UNIX) as listener:
        listener.bind(path)
        listener.listen()
        oci.spec["process"]["terminal"] = True
        oci.ok("create", *oci.write("a", "tty"), "--console-socket", path, "a")
        master = receive_master(listener)
        oci.ok("start", "a")
        assert read_terminal(master) == b"/dev/pts/0\r\n"


def test_terminal_without_taker_is_refused(oci: Machine) -> None:
    oci.spec["process"]["terminal"] = True
    assert oci.call("create", *oci.write("a", "tty"), "a").returncode == 1
    assert "--console-socket" in oci.last_error()
    assert oci.call("run", *oci.write("a", "tty"), "a").stdout == "/dev/pts/0\n"


@pytest.mark.parametrize("command", ["run", "exec"])
def test_preserved_fds(oci: Machine, tmp_path: Path, command: str) -> None:
    reader, writer = os.pipe()
    os.write(writer, b"through")
    os.close(writer)
    os.dup2(reader, 3) if reader != 3 else None
    flags = oci.write("a", "cat", "/proc/self/fd/3")
    words = ["run", *flags, "--preserve-fds", "1", "a"]
    if command == "exec":
        oci.create("a", "sleep", "600")
        oci.ok("start", "a")
        words = ["exec", "--preserve-fds", "1", "a", "cat", "/proc/self/fd/3"]
    assert oci.ok(*words, pass_fds=(3,)) == "through"


def test_hooks_in_order(oci: Machine, tmp_path: Path) -> None:
    notes = tmp_path / "notes"
    hook = tmp_path / "hook"
    hook.write_text(f'#!/bin/sh\necho "$1 $(cat)" >> {notes}\n')
    hook.chmod(0o755)
    kinds = ("prestart", "createRuntime", "poststart", "poststop")
    oci.spec["hooks"] = {kind: [{"path": str(hook), "args": ["h", kind]}] for kind in kinds}
    inside = {"path": "/bin/sh", "args": ["sh", "-c", "cat > /said"]}
    oci.spec["hooks"]["startContainer"] = [inside]
    oci.create("a", "sleep", "600")
    oci.ok("start", "a")
    oci.ok("delete", "-f", "a")
    seen = [line.partition(" ") for line in notes.read_text().splitlines()]
    assert [kind for kind, _, _ in seen] == list(kinds)
    states = [json.loads(state) for _, _, state in seen]
    assert [state["status"] for state in states] == ["creating", "creating", "running", "stopped"]
    assert json.loads((oci.bundle / "rootfs/said").read_text())["status"] == "created"


@pytest.mark.parametrize(
    ("path", "why"),
    [
        ("/bin/false", "exit status 1"),
        ("/bin/not-there", "it cannot be executed: No such file or directory"),
        ("/etc/passwd", "it cannot be executed: Permission denied"),
    ],
)
def test_failing_hook_stops_create(oci: Machine, path: str, why: str) -> None:
    oci.spec["hooks"] = {"createRuntime": [{"path": path}]}
    assert oci.call("create", *oci.write("a", "true"), "a").returncode == 1
    assert f"hook {path} failed: {why}" in oci.last_error()
    assert not oci.leftovers()


def test_user_namespace(oci: Machine, tmp_path: Path) -> None:
    for folder in (tmp_path, *list(tmp_path.parents)[:2]):
        folder.chmod(0o755)
    oci.spec["linux"]["namespaces"].append({"type": "user"})
    mapping = [{"containerID": 0, "hostID": 100000, "size": 65536}]
    oci.spec["linux"] |= {"uidMappings": mapping, "gidMappings": mapping}
    for path in [oci.bundle / "rootfs", *(oci.bundle / "rootfs").iterdir()]:
        os.chown(path, 100000, 100000)
    script = (
        "cat /proc/self/uid_map; ls /..; grep -c . /proc/mounts >/dev/null && echo x >/dev/null"
    )
    done = oci.call("run", *oci.write("a", "sh", "-c", script), "a")
    assert done.returncode == 0, done.stderr
    first, *names = done.stdout.split("\n")
    assert first.split() == ["0", "100000", "65536"]
    assert "bin" in names  # above the root is the root: nothing of the way here is left


def test_seccomp(oci: Machine) -> None:
    rule = {"names": ["uname"], "action": "SCMP_ACT_ERRNO", "errnoRet": 42}
    oci.spec["linux"]["seccomp"] = {"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}
    for id in ("compiled", "kept"):
        out = oci.ok("run", *oci.write(id, "grep", "^Seccomp:", "/proc/self/status"), id)
        assert out == "Seccomp:\t2\n"
    oci.spec["linux"]["seccomp"]["flags"] = ["SECCOMP_FILTER_FLAG_NEW_LISTENER"]
    assert oci.call("run", *oci.write("a", "true"), "a").returncode == 1
    assert "SECCOMP_FILTER_FLAG_NEW_LISTENER" in oci.last_error()
