"""``ketch why``: causes that are made here on purpose are found."""

from __future__ import annotations

import json
import os
import shutil
import signal
import socket
import struct
from pathlib import Path
from typing import Any

import pytest

from e2e.conftest import IMAGE
from e2e.ketch_program import ketch, out
from e2e.ketchd_process import BUSYBOX, Ketchd, wait_for

pytestmark = pytest.mark.root


def why(daemon: Ketchd, name: str) -> dict[str, Any]:
    found: dict[str, Any] = json.loads(out(daemon, "why", "--format", "json", name))
    return found


def finding(daemon: Ketchd, name: str, kind: str) -> dict[str, Any]:
    found = why(daemon, name)
    chosen: dict[str, Any] | None = next((f for f in found["Findings"] if f["Kind"] == kind), None)
    assert chosen is not None, found
    return chosen


def run(daemon: Ketchd, name: str, *words: str) -> None:
    daemon.docker("run", "--name", name, *words, code=None)


def test_an_end_by_itself(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, IMAGE, "sh", "-c", "echo bye; exit 3")
    assert finding(ketchd, name, "never-started")
    ketchd.docker("start", "-a", name, code=3)
    found = why(ketchd, name)
    assert found["Findings"][0]["Details"] == {"code": 3}
    assert found["Log"] == ["bye"]
    assert [run["ExitCode"] for run in found["Exits"]] == [3]
    page = out(ketchd, "why", name)
    assert "It ended by itself, with exit code 3" in page
    assert "\n  bye" in page
    assert out(ketchd, "why", "--format", "{{.Status}}", name) == "exited"


def test_who_sent_the_signal(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, IMAGE, "sleep", "1000")
    assert finding(ketchd, name, "running")
    ketchd.docker("stop", "-t", "0", name)
    details = finding(ketchd, name, "signal")["Details"]
    assert (details["by"], details["name"], details["ignored"]) == ("stop", "SIGKILL", 15)
    assert "Docker-Client" in details["client"]
    assert "of user 0" in details["client"]
    ketchd.docker("start", name)
    ketch(ketchd, "kill", name)
    details = finding(ketchd, name, "signal")["Details"]
    assert (details["by"], details["name"]) == ("kill", "SIGKILL")
    ketchd.stop(signal.SIGKILL)  # what is known outlives the daemon
    ketchd.start()
    assert finding(ketchd, name, "signal")["Details"] == details
    ketchd.docker("start", name)
    os.kill(int(ketchd.out("inspect", "-f", "{{.State.Pid}}", name)), signal.SIGKILL)
    wait_for(lambda: why(ketchd, name)["Status"] == "exited", "it lives")
    assert finding(ketchd, name, "signal")["Details"]["by"] == "outside"


def test_a_stop_that_is_obeyed(ketchd: Ketchd, name: str) -> None:
    script = "trap 'exit 7' TERM; echo up; while :; do sleep 0.05; done"
    ketchd.docker("run", "-d", "--name", name, IMAGE, "sh", "-c", script)
    wait_for(lambda: "up" in ketchd.out("logs", name), "not up")
    ketchd.docker("stop", name)
    details = finding(ketchd, name, "exit")["Details"]
    assert (details["code"], details["by"]) == (7, "stop")


def test_a_fault_of_the_program(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    if os.uname().machine != "x86_64":
        pytest.skip("the program that fails is written for amd64")
    code = b"\x31\xc0\x89\x00"  # xor eax,eax; mov [rax],eax
    start = 0x400000
    head = struct.pack("<16sHHIQQQIHHHHHH", b"\x7fELF\x02\x01\x01", 2, 62, 1, start + 120, 64, 0,
                       0, 64, 56, 1, 0, 0, 0)  # fmt: skip
    segment = struct.pack("<IIQQQQQQ", 1, 5, 0, start, start, 124, 124, 4096)
    (tmp_path / "crash").write_bytes(head + segment + code)
    (tmp_path / "crash").chmod(0o755)
    run(ketchd, name, "-v", f"{tmp_path}:/c", IMAGE, "/c/crash")
    details = finding(ketchd, name, "signal")["Details"]
    assert (details["name"], details["by"]) == ("SIGSEGV", "kernel")


def test_the_victim_of_the_oom_killer(ketchd: Ketchd, name: str) -> None:
    run(ketchd, name, "-m", "16m", "--memory-swap", "16m", IMAGE, "sh", "-c", "tail /dev/zero")
    wait_for(lambda: "victim" in finding(ketchd, name, "oom")["Details"], "the victim is not known")
    found = finding(ketchd, name, "oom")
    assert found["Details"]["victim"] == "tail"
    assert found["Details"]["limit"] == 16 << 20
    assert "memory limit is 16 MiB" in found["Text"]


def test_health_is_named(ketchd: Ketchd, name: str) -> None:
    ketch(
        ketchd, "run", "-d", "--name", name, "--health-cmd", "echo sick; false",
        "--health-interval", "100ms", "--health-retries", "1", "--health-on-failure", "kill",
        IMAGE, "sleep", "1000",
    )  # fmt: skip
    wait_for(lambda: why(ketchd, name)["Status"] == "exited", "it lives")
    details = finding(ketchd, name, "signal")["Details"]
    assert (details["by"], details["name"]) == ("health", "SIGKILL")
    assert "ignored" not in details
    assert "sick" in finding(ketchd, name, "health")["Text"]
    assert why(ketchd, name)["Health"]["Log"][0]["Output"] == "sick\n"


def test_a_loop_of_restarts(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, "--restart", "on-failure:2", IMAGE, "false")
    wait_for(lambda: len(why(ketchd, name)["Exits"]) == 3, "it does not restart")
    assert "exit codes 1, 1, 1" in finding(ketchd, name, "restarts")["Text"]


def test_a_lost_supervisor(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "--name", name, IMAGE, "sleep", "1000")
    pid = ketchd.out("inspect", "-f", "{{.State.Pid}}", name)
    status = Path(f"/proc/{pid}/status").read_text()
    os.kill(int(status.partition("PPid:")[2].split()[0]), signal.SIGKILL)
    wait_for(lambda: why(ketchd, name)["Status"] == "exited", "it lives")
    assert finding(ketchd, name, "lost")


def test_a_port_that_is_held(ketchd: Ketchd, name: str) -> None:
    with socket.create_server(("0.0.0.0", 0)) as held:
        port = held.getsockname()[1]
        run(ketchd, name, "-p", f"{port}:80", IMAGE, "true")
        details = finding(ketchd, name, "port")["Details"]
        assert (details["pid"], details["port"]) == (os.getpid(), port)
        ketchd.docker("rm", name)
        run(
            ketchd, name, "--network", "host", IMAGE, "nc", "-l", "-p", str(port)
        )  # fmt: skip
        found = finding(ketchd, name, "port")
        assert (found["Certainty"], found["Details"]["pid"]) == ("likely", os.getpid())
    ketchd.docker("rm", name)
    other = f"{name}-o"
    ketchd.docker("run", "-d", "--name", other, "-p", f"{port}:80", IMAGE, "sleep", "1000")
    run(ketchd, name, "-p", f"{port}:80", IMAGE, "true")
    assert finding(ketchd, name, "port")["Details"]["name"] == other
    ketchd.docker("rm", "-f", other)


def test_a_bind_whose_source_went(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    gone = tmp_path / "gone"
    gone.mkdir()
    mount = f"type=bind,source={gone},target=/x"
    ketchd.docker("create", "--name", name, "--mount", mount, IMAGE, "true")
    gone.rmdir()
    ketchd.docker("start", name, code=1)
    assert finding(ketchd, name, "mount")["Details"] == {"source": str(gone), "target": "/x"}


def test_an_unknown_user(ketchd: Ketchd, name: str) -> None:
    run(ketchd, name, "-u", "nobodyhere", IMAGE, "true")
    assert "unable to find user nobodyhere" in finding(ketchd, name, "start-failed")["Text"]


@pytest.fixture(scope="module")
def broken(ketchd: Ketchd, tmp_path_factory: pytest.TempPathFactory) -> str:
    """An image of programs that cannot be executed."""
    folder = tmp_path_factory.mktemp("broken")
    real = os.path.realpath
    shutil.copy(BUSYBOX, folder / "foreign")
    data = bytearray((folder / "foreign").read_bytes())
    data[18:20] = struct.pack("<H", 183 if os.uname().machine == "x86_64" else 62)
    (folder / "foreign").write_bytes(data)
    shutil.copy(real("/bin/ls"), folder / "dynamic")
    loaders = [p for p in ("/lib64/ld-linux-x86-64.so.2", "/lib/ld-linux-aarch64.so.1")
               if os.path.exists(p)]  # fmt: skip
    shutil.copy(real(loaders[0]), folder / "loader")
    (folder / "crlf").write_bytes(b"#!/bin/sh\r\necho x\r\n")
    (folder / "lost").write_bytes(b"#!/usr/bin/nothing -x\n")
    (folder / "odd").write_bytes(b"#!/bin/odd\xff\n")
    (folder / "env").write_bytes(b"#!/bin/env nothing\n")
    (folder / "text").write_bytes(b"echo x\n")
    (folder / "empty").write_bytes(b"")
    (folder / "plain").write_bytes(b"#!/bin/sh\n")
    for path in folder.iterdir():
        path.chmod(0o644 if path.name == "plain" else 0o755)
    (folder / "Dockerfile").write_text(f"FROM {IMAGE}\nCOPY . /p/\nRUN ln -s /nowhere /p/link\n")
    ketchd.docker("build", "-qt", "broken", str(folder))
    (folder / "Dockerfile").write_text(f"FROM broken\nCOPY loader {loaders[0]}\n")
    ketchd.docker("build", "-qt", "broken:loader", str(folder))
    return "broken"


@pytest.mark.parametrize(
    ("image", "program", "kind", "details"),
    [
        ("broken", "foreign", "architecture", {"host": os.uname().machine}),
        ("broken", "dynamic", "loader", {}),
        ("broken:loader", "dynamic", "library", {"needed_by": "/p/dynamic"}),
        ("broken", "crlf", "crlf", {"interpreter": "/bin/sh"}),
        ("broken", "lost", "interpreter", {"interpreter": "/usr/bin/nothing"}),
        ("broken", "odd", "interpreter", {"interpreter": "/bin/odd\ufffd"}),
        ("broken", "env", "interpreter", {"interpreter": "nothing"}),
        ("broken", "text", "format", {}),
        ("broken", "empty", "empty", {}),
        ("broken", "plain", "not-executable", {}),
        ("broken", "link", "missing", {"link": "/nowhere"}),
        ("broken", "", "directory", {}),
        ("broken", "none", "missing", {}),
    ],
)  # fmt: skip
def test_programs_that_cannot_run(
    ketchd: Ketchd, broken: str, name: str, image: str, program: str, kind: str,
    details: dict[str, str],
) -> None:  # fmt: skip
    run(ketchd, name, image, f"/p/{program}")
    found = finding(ketchd, name, f"program-{kind}")["Details"]
    assert details.items() <= found.items()


def test_a_command_that_a_shell_does_not_find(ketchd: Ketchd, broken: str, name: str) -> None:
    run(ketchd, name, broken, "sh", "-c", "/p/dynamic; exit $?")
    assert finding(ketchd, name, "program-loader")["Details"]["path"] == "/p/dynamic"


def test_programs_on_mounts(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    (tmp_path / "entry").write_bytes(b"#!/bin/sh\r\n")
    (tmp_path / "entry").chmod(0o755)
    (tmp_path / "plain").write_bytes(b"#!/bin/sh\n")
    (tmp_path / "out").symlink_to("/etc/hostname")
    for mount, program, kind in (
        (f"{tmp_path}/entry:/entry", "/entry", "program-crlf"),
        (f"{tmp_path}:/m", "/m/plain", "program-not-executable"),
        (f"{tmp_path}:/m", "/m/none", "program-unmounted"),
        (f"{tmp_path}:/m", "/m/out", "program-unmounted"),
    ):
        run(ketchd, name, "-v", mount, IMAGE, program)
        assert finding(ketchd, name, kind)["Details"]["path"] == program
        ketchd.docker("rm", name)
    run(ketchd, name, "--tmpfs", "/t", IMAGE, "sh", "-c", "cp /bin/busybox /t/true; /t/true")
    assert finding(ketchd, name, "program-noexec")["Details"]["target"] == "/t"


@pytest.mark.parametrize(
    ("flags", "command", "kind", "hint"),
    [
        ((), "mount -t tmpfs none /mnt", "denied", "--cap-add SYS_ADMIN"),
        (("--cap-drop", "chown"), "chown 1:1 /etc", "denied", "--cap-add CHOWN"),
        (("-u", "1000"), "touch /x", "denied", "runs as the user 1000"),
        (("--read-only",), "touch /x", "read-only", "--read-only"),
        (("-v", "/tmp:/t:ro"), "touch /t/x", "read-only", "/t is mounted read-only"),
        (("--tmpfs", "/t:size=4k"), "dd if=/dev/zero of=/t/x bs=1k count=9", "disk", "is full"),
    ],
)
def test_what_a_log_lets_one_guess(
    ketchd: Ketchd, name: str, flags: tuple[str, ...], command: str, kind: str, hint: str
) -> None:
    run(ketchd, name, *flags, IMAGE, "sh", "-c", command)
    found = finding(ketchd, name, kind)
    assert hint in found["Text"]
    assert found["Certainty"] in ("likely", "possible")


def test_a_call_that_seccomp_punishes_by_death(ketchd: Ketchd, name: str, tmp_path: Path) -> None:
    profile = tmp_path / "profile.json"
    rule = {"names": ["mkdir", "mkdirat"], "action": "SCMP_ACT_KILL_PROCESS"}
    profile.write_text(json.dumps({"defaultAction": "SCMP_ACT_ALLOW", "syscalls": [rule]}))
    run(ketchd, name, "--security-opt", f"seccomp={profile}", IMAGE, "mkdir", "/x")
    assert finding(ketchd, name, "signal")["Details"]["name"] == "SIGSYS"
    found = finding(ketchd, name, "denied-call")
    assert found["Details"]["call"].startswith("mkdir")
    assert found["Certainty"] == "known"


def test_a_rerun_knows_what_was_denied(ketchd: Ketchd, name: str) -> None:
    command = "mount -t tmpfs none /mnt || exit 5"
    run(ketchd, name, IMAGE, "sh", "-c", command)
    assert not [f for f in why(ketchd, name)["Findings"] if f["Kind"] == "denied-call"]
    found = json.loads(out(ketchd, "why", "--rerun", "--format", "json", name))
    assert found["ExitCode"] == 5
    assert len(found["Exits"]) == 2
    denied = next(f for f in found["Findings"] if f["Kind"] == "denied-call")
    assert (denied["Details"]["call"], denied["Details"]["program"]) == ("mount", "mount")
    assert "--cap-add SYS_ADMIN" in denied["Text"]
    assert denied["Certainty"] == "likely"
    ketchd.docker("start", name)
    wait_for(lambda: len(why(ketchd, name)["Exits"]) == 3, "it has not run again")
    assert not [f for f in why(ketchd, name)["Findings"] if f["Kind"] == "denied-call"]


def test_a_rerun_that_goes_on_and_one_that_cannot(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "--name", name, IMAGE, "sleep", "1000")
    assert "It is running" in out(ketchd, "why", "--rerun", "-t", "0", name)
    refused = ketch(ketchd, "why", "--rerun", name, code=1)
    assert b"is running: stop it first" in refused.stderr


def test_names_of_files_do_not_steer_the_terminal(ketchd: Ketchd, name: str) -> None:
    run(ketchd, name, IMAGE, "/\x1b[31mred")
    assert "\x1b" not in out(ketchd, "why", name)


def test_nobody_is_known_by_that_name(ketchd: Ketchd) -> None:
    assert b"No such container: nope" in ketch(ketchd, "why", "nope", code=1).stderr
    ketch(ketchd, "why", code=1)
