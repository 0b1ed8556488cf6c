"""Exec processes are listed and killed, and die with their client when asked."""

from __future__ import annotations

import contextlib
import json
import os
import signal
import socket
import subprocess
import threading
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.conftest import IMAGE
from e2e.ketch_program import KETCH, ketch, out
from e2e.ketchd_process import Ketchd, Terminal, parent_of, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def box(ketchd: Ketchd, name: str) -> str:
    ketchd.docker("run", "-d", "--name", name, IMAGE, "sleep", "1000")
    return name


def runs(daemon: Ketchd, box: str, word: str) -> bool:
    return word in daemon.out("top", box)


def start(daemon: Ketchd, *words: str) -> subprocess.Popen[bytes]:
    return subprocess.Popen(
        [KETCH, "exec", *words],
        env={**os.environ, "KETCH_HOST": f"unix://{daemon.socket}"},
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
    )


def execs(daemon: Ketchd, box: str, *words: str) -> list[dict[str, str]]:
    lines = out(daemon, "container", "execs", "--format", "json", *words, box)
    return [json.loads(line) for line in lines.splitlines()]


def test_listed_and_killed_with_what_they_started(ketchd: Ketchd, box: str) -> None:
    ketchd.docker("exec", "-d", "-u", "1000", box, "sh", "-c", "sleep 5001 & sleep 5001")
    ketchd.docker("exec", "-d", box, "sleep", "5002")
    wait_for(lambda: len(execs(ketchd, box)) == 2, "not listed")
    first, second = execs(ketchd, box)
    assert first["Command"] == "sh -c sleep 5001 & sleep 5001"
    assert first["User"] == "1000"
    assert second["Status"] == "Running"
    assert second["PID"] in ketchd.out("top", box)
    assert ketchd.out("inspect", "-f", "{{len .ExecIDs}}", box) == "2"
    assert out(ketchd, "container", "exec-kill", first["ID"]) == first["ID"]
    wait_for(lambda: not runs(ketchd, box, "5001"), "its child lives on")
    assert runs(ketchd, box, "5002")
    ketch(ketchd, "container", "exec-kill", "-s", "TERM", second["ID"])
    wait_for(lambda: execs(ketchd, box) == [], "still listed")
    ended = {row["ID"]: row["Status"] for row in execs(ketchd, box, "-a")}
    assert ended == {first["ID"]: "Exited (137)", second["ID"]: "Exited (143)"}
    again = ketch(ketchd, "container", "exec-kill", first["ID"], code=1)
    assert b"it is not running" in again.stderr
    wrong = ketch(ketchd, "container", "exec-kill", "-s", "NOPE", first["ID"], code=1)
    assert b"invalid signal: NOPE" in wrong.stderr
    ketch(ketchd, "container", "exec-kill", "nope", code=1)
    ketch(ketchd, "container", "execs", "nope", code=1)


def test_a_killed_client_takes_its_process_along(ketchd: Ketchd, box: str) -> None:
    client = start(ketchd, "--die-with-client", box, "sh", "-c", "sleep 5003 & sleep 5003")
    other = start(ketchd, box, "sleep", "5004")
    wait_for(lambda: runs(ketchd, box, "5003") and runs(ketchd, box, "5004"), "no processes")
    for each in (client, other):
        each.kill()
        each.wait()
    wait_for(lambda: not runs(ketchd, box, "5003"), "it lives on without its client")
    assert runs(ketchd, box, "5004")  # as with Docker, when nobody asked


@contextlib.contextmanager
def forwarded(daemon: Ketchd) -> Iterator[str]:
    """The engine over TCP, by a relay that passes half-closed connections on as they are."""

    def copy(source: socket.socket, target: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while data := source.recv(65536):
                target.sendall(data)
            target.shutdown(socket.SHUT_WR)

    def serve(listener: socket.socket) -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.socket(socket.AF_UNIX)
                far.connect(str(daemon.socket))
                for pair in ((near, far), (far, near)):
                    threading.Thread(target=copy, args=pair, daemon=True).start()

    with socket.create_server(("127.0.0.1", 0)) as listener:
        threading.Thread(target=serve, args=(listener,), daemon=True).start()
        yield f"tcp://127.0.0.1:{listener.getsockname()[1]}"
        listener.shutdown(socket.SHUT_RDWR)


def test_also_over_tcp_where_an_end_looks_like_half_of_one(ketchd: Ketchd, box: str) -> None:
    with forwarded(ketchd) as address:
        client = subprocess.Popen(
            [KETCH, "exec", "--die-with-client", box, "sleep", "5007"],
            env={**os.environ, "KETCH_HOST": address},
            stdin=subprocess.DEVNULL,
        )
        wait_for(lambda: runs(ketchd, box, "5007"), "no process")
        client.kill()
        client.wait()
        wait_for(lambda: not runs(ketchd, box, "5007"), "it lives on without its client")


def test_also_when_the_daemon_is_dead(ketchd: Ketchd, box: str) -> None:
    client = start(ketchd, "--die-with-client", box, "sleep", "5005")
    wait_for(lambda: runs(ketchd, box, "5005"), "no process")
    pid = next(row["PID"] for row in execs(ketchd, box))
    ketchd.stop(signal.SIGKILL)
    assert os.path.exists(f"/proc/{pid}")
    client.kill()
    client.wait()
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "it lives on without its client")
    ketchd.start()
    assert execs(ketchd, box) == []


def test_its_pid_is_known_to_the_daemon_that_comes_next(ketchd: Ketchd, box: str) -> None:
    client = start(ketchd, box, "sleep", "5009")
    wait_for(lambda: runs(ketchd, box, "5009"), "no process")
    pid = next(row["PID"] for row in execs(ketchd, box))
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    wait_for(lambda: [row["PID"] for row in execs(ketchd, box)] == [pid], "another pid, or none")
    client.kill()
    client.wait()


def test_an_end_that_no_daemon_saw(ketchd: Ketchd, box: str) -> None:
    """Its supervisor has left by the time the next daemon comes: the status is kept."""
    ketchd.docker("exec", "-d", box, "sh", "-c", "until [ -e /go ]; do sleep 0.02; done; exit 7")
    pid = next(row["PID"] for row in execs(ketchd, box))
    supervisor = parent_of(int(pid))
    ketchd.stop(signal.SIGKILL)
    Path(f"/proc/{pid}/root/go").touch()
    wait_for(lambda: not os.path.exists(f"/proc/{supervisor}"), "its supervisor does not leave")
    ketchd.start()
    assert [row["Status"] for row in execs(ketchd, box, "-a")] == ["Exited (7)"]
    assert not [name for name in (ketchd.run / "shims").iterdir() if name.suffix == ".ended"]


def test_a_killed_supervisor_takes_its_process_along(ketchd: Ketchd, box: str) -> None:
    """Nobody is told that it ended well, and nothing of it stays."""
    client = start(ketchd, box, "sleep", "5010")
    wait_for(lambda: runs(ketchd, box, "5010"), "no process")
    (row,) = execs(ketchd, box)
    os.kill(parent_of(int(row["PID"])), signal.SIGKILL)
    assert client.wait(60) == 137
    assert [row["Status"] for row in execs(ketchd, box, "-a")] == ["Exited (137)"]
    assert row["ID"] not in sockets(ketchd)


def sockets(daemon: Ketchd) -> set[str]:
    """Of supervisors: whose they are."""
    return {path.stem for path in (daemon.run / "shims").iterdir()}


def test_who_detaches_leaves_it_alone(ketchd: Ketchd, box: str) -> None:
    command = [KETCH, "exec", "-it", "--die-with-client", box, "sh", "-c", "echo up; sleep 5006"]
    env = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}"}
    session = Terminal(command, env)
    try:
        session.expect("up")
        session.send(b"\x10\x11")
        assert session.wait() == 1  # as docker: "read escape sequence"
    finally:
        session.close()
    ketchd.docker("exec", box, "true")
    assert runs(ketchd, box, "5006")


def test_a_user_that_the_container_does_not_know(ketchd: Ketchd, box: str) -> None:
    """Told when the exec is made, as an error; numbers need no entry."""
    for user, what in (("nope", "user nope: no matching entries in passwd"),
                       ("0:nope", "group nope: no matching entries in group")):  # fmt: skip
        done = ketchd.docker("exec", "-u", user, box, "true", code=1)
        assert f"Error response from daemon: unable to find {what}" in done.stderr.decode()
    assert ketchd.out("exec", "-u", "guest", box, "id", "-un") == "guest"
    assert ketchd.out("exec", "-u", "4711", box, "id", "-u") == "4711"


def test_a_normal_end(ketchd: Ketchd, box: str) -> None:
    done = ketch(
        ketchd, "exec", "-i", "--die-with-client", box, "sh", "-c", "cat; exit 3",
        input=b"through\n", code=3,
    )  # fmt: skip
    assert done.stdout == b"through\n"
    refused = ketch(ketchd, "exec", "-d", "--die-with-client", box, "true", code=None)
    assert refused.returncode
    assert b"Conflicting options" in refused.stderr
