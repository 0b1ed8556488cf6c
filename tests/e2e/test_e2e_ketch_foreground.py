"""``ketch`` in front of a container: signals, the terminal, pipes, a daemon that goes away."""

from __future__ import annotations

import contextlib
import fcntl
import json
import os
import signal
import struct
import subprocess
import termios
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketch_program import KETCH, ketch, out
from e2e.ketchd_process import Ketchd, Terminal, wait_for

pytestmark = pytest.mark.root


def environment(daemon: Ketchd) -> dict[str, str]:
    return {**os.environ, "KETCH_HOST": f"unix://{daemon.socket}", "TERM": "xterm"}


@contextlib.contextmanager
def terminal(daemon: Ketchd, *words: str) -> Iterator[Terminal]:
    session = Terminal(list(words), environment(daemon))
    try:
        yield session
    finally:
        session.close()


def started(daemon: Ketchd, *words: str) -> subprocess.Popen[bytes]:
    """A ``ketch`` whose container has said ``up``."""
    process = subprocess.Popen(
        [KETCH, *words],
        env=environment(daemon),
        stdin=subprocess.DEVNULL,
        stdout=subprocess.PIPE,
        stderr=subprocess.PIPE,
    )
    assert process.stdout is not None
    assert process.stdout.readline() == b"up\n"
    return process


TRAPS = 'trap "echo int; exit 5" INT; trap "echo usr" USR1; echo up; while :; do sleep 0.05; done'
DEAF = 'trap "echo no" INT TERM; echo up; while :; do sleep 0.05; done'


def test_signals_go_to_the_container(ketchd: Ketchd) -> None:
    process = started(ketchd, "run", "--rm", "busybox", "sh", "-c", TRAPS)
    assert process.stdout is not None
    process.send_signal(signal.SIGUSR1)
    assert process.stdout.readline() == b"usr\n"
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == (b"int\n", 5)


def test_the_third_request_ends_the_client(ketchd: Ketchd, name: str) -> None:
    process = started(ketchd, "run", "--name", name, "busybox", "sh", "-c", DEAF)
    assert process.stdout is not None
    for number in (signal.SIGINT, signal.SIGTERM):
        process.send_signal(number)
        assert process.stdout.readline() == b"no\n"
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=60)
    assert process.returncode == 1
    assert b"got 3 SIGTERM/SIGINTs, forcefully exiting" in errors
    assert out(ketchd, "inspect", "-f", "{{.State.Running}}", name) == "true"


def test_signals_stay_here_when_asked(ketchd: Ketchd, name: str) -> None:
    words = ("run", "--sig-proxy=false", "--name", name, "busybox", "sh", "-c", TRAPS)
    process = started(ketchd, *words)
    process.send_signal(signal.SIGINT)
    rest, _ = process.communicate(timeout=60)
    assert (rest, process.returncode) == (b"", 130)
    assert out(ketchd, "inspect", "-f", "{{.State.Running}}", name) == "true"


def test_start_attached_and_attach(ketchd: Ketchd, name: str) -> None:
    ketch(ketchd, "create", "-i", "--name", name, "busybox", "sh", "-c", "read x; echo $x; exit 4")
    assert ketch(ketchd, "start", "-ai", name, input=b"hello\n", code=4).stdout == b"hello\n"
    ketch(ketchd, "start", name)
    assert ketch(ketchd, "attach", name, input=b"again\n", code=4).stdout == b"again\n"
    done = ketch(ketchd, "attach", name, code=1)
    assert b"You cannot attach to a stopped container" in done.stderr


SHELL = (
    "stty -a >{0}/before; {1}; code=$?; stty -a >{0}/after; cmp {0}/before {0}/after && "
    "echo restored $code"
)


def test_the_terminal_is_put_back_at_the_end(ketchd: Ketchd, tmp_path: Path) -> None:
    line = SHELL.format(tmp_path, f"{KETCH} run --rm -it busybox sh -c 'echo up; exit 3'")
    with terminal(ketchd, "/bin/sh", "-c", line) as session:
        session.expect("up")
        session.expect("restored 3")


def test_the_terminal_is_put_back_on_a_deadly_signal(
    ketchd: Ketchd, name: str, tmp_path: Path
) -> None:
    run = f"{KETCH} run --name {name} -it busybox sh -c 'echo up; exec sleep 600'"
    line = SHELL.format(tmp_path, f"{run} & echo $! >{tmp_path}/pid; fg")
    with terminal(ketchd, "/bin/bash", "-mc", line) as session:
        session.expect("up")
        pid = int((tmp_path / "pid").read_text())
        wait_for(lambda: _is_raw(session.fd), "the terminal is not raw")
        os.kill(pid, signal.SIGTERM)
        session.expect("restored 143")


def _is_raw(fd: int) -> bool:
    return not termios.tcgetattr(fd)[3] & termios.ICANON


@pytest.mark.parametrize("keys", ["flag", "config", "default"])
def test_detach_keys(ketchd: Ketchd, name: str, tmp_path: Path, keys: str) -> None:
    flag, typed = "", b"\x10\x11"
    if keys == "flag":
        flag, typed = "--detach-keys ctrl-x,y", b"\x18y"
    if keys == "config":
        (tmp_path / "config.json").write_text(json.dumps({"detachKeys": "ctrl-k"}))
        typed = b"\x0b"
    run = f"DOCKER_CONFIG={tmp_path} {KETCH} run {flag} -it --name {name} busybox"
    line = SHELL.format(tmp_path, f"{run} sh -c 'echo up; exec cat'")
    with terminal(ketchd, "/bin/sh", "-c", line) as session:
        session.expect("up")
        wait_for(lambda: _is_raw(session.fd), "the terminal is not raw")
        session.send(b"still here\r")
        session.expect("still here\r\nstill here")
        session.send(typed)
        session.expect("restored 0")
    assert out(ketchd, "inspect", "-f", "{{.State.Running}}", name) == "true"
    ketch(ketchd, "rm", "-f", name)


@pytest.mark.parametrize("verb", ["exec", "attach"])
def test_detaching_from_what_goes_on(ketchd: Ketchd, name: str, verb: str) -> None:
    ketch(ketchd, "run", "-dit", "--name", name, "busybox", "sh")
    words = ["exec", "-it", name, "sh"] if verb == "exec" else ["attach", name]
    with terminal(ketchd, KETCH, *words) as session:
        wait_for(lambda: _is_raw(session.fd), "the terminal is not raw")
        session.send(b"echo here\r")
        session.expect("here\r\nhere")
        session.send(b"\x10\x11")
        session.expect("read escape sequence")
        assert session.wait() == 1
    assert out(ketchd, "inspect", "-f", "{{.State.Running}}", name) == "true"
    ketch(ketchd, "rm", "-f", name)


def test_a_shell_that_waits_shows_its_prompt_again(ketchd: Ketchd, name: str) -> None:
    """And what is typed before the client has the terminal is for the container."""
    ketch(ketchd, "run", "-dit", "--name", name, "busybox", "sh")
    words = ["/bin/sh", "-c", 'stty rows 31 cols 97; exec "$@"', "-", KETCH, "attach", name]
    for _ in range(2):
        with terminal(ketchd, *words) as session:
            session.expect("/ # ")
            session.send(b"\x10\x11")
            session.expect("read escape sequence")
    with terminal(ketchd, KETCH, "attach", name) as session:
        session.send(b"exit 5\n")
        assert session.wait() == 5


def test_the_size_of_the_terminal(ketchd: Ketchd, name: str) -> None:
    script = "trap 'stty size' WINCH; stty size; echo up; while :; do sleep 0.05; done"
    words = [KETCH, "run", "--name", name, "-it", "busybox", "sh", "-c", script]
    with terminal(
        ketchd, "/bin/sh", "-c", 'stty rows 31 cols 97; exec "$@"', "-", *words
    ) as session:
        session.expect("31 97")
        session.expect("up")
        fcntl.ioctl(session.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 40, 120, 0, 0))
        session.expect("40 120")


@pytest.mark.parametrize(
    "words",
    [
        ["ps", "-a"],
        ["images"],
        ["info"],
        ["--help"],
        ["run", "--help"],
        ["events", "--since", "1h"],
    ],
)
def test_a_reader_that_leaves_is_no_error(ketchd: Ketchd, words: list[str]) -> None:
    reading, writing = os.pipe()
    os.close(reading)
    process = subprocess.Popen(
        [KETCH, *words], env=environment(ketchd), stdout=writing, stderr=subprocess.PIPE
    )
    os.close(writing)
    _, errors = process.communicate(timeout=60)
    assert (process.returncode, errors) == (141, b"")


def test_output_that_cannot_be_written(ketchd: Ketchd) -> None:
    with open("/dev/full", "w") as full:
        done = subprocess.run(
            [KETCH, "ps"], env=environment(ketchd), stdout=full, stderr=subprocess.PIPE, check=False
        )
    assert done.returncode == 1
    assert done.stderr == b"ketch ps: no space left on device\n"


def test_a_daemon_killed_and_restarted_meanwhile(ketchd: Ketchd, name: str) -> None:
    script = 'trap "echo end; exit 9" USR1; echo up; while :; do sleep 0.05; done'
    process = started(ketchd, "run", "--name", name, "busybox", "sh", "-c", script)
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    ketch(ketchd, "kill", "-s", "USR1", name)
    rest, errors = process.communicate(timeout=60)
    assert (rest, errors, process.returncode) == (b"end\n", b"", 9)


def test_debug_shows_the_requests(ketchd: Ketchd) -> None:
    done = ketch(ketchd, "-D", "ps", "-q")
    assert b"GET /containers/json" in done.stderr
    assert b"GET" not in ketch(ketchd, "ps", "-q").stderr
