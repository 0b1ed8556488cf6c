"""Standard streams: terminals, pipes, attach, exec, logs."""

from __future__ import annotations

import signal
import subprocess
import time

import pytest

from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root


def test_stdin_with_half_close(ketchd: Ketchd) -> None:
    done = ketchd.docker("run", "--rm", "-i", "busybox", "cat", input=b"one\ntwo")
    assert done.stdout == b"one\ntwo"
    done = ketchd.docker(
        "run", "--rm", "-i", "busybox", "sh", "-c", "wc -c; echo after", input=b"x" * 3_000_000
    )
    assert done.stdout.split() == [b"3000000", b"after"]


def test_much_output(ketchd: Ketchd) -> None:
    done = ketchd.docker("run", "--rm", "busybox", "head", "-c", "20000000", "/dev/zero")
    assert len(done.stdout) == 20_000_000


def test_terminal(ketchd: Ketchd) -> None:
    with ketchd.terminal("run", "--rm", "-it", "busybox", "sh") as session:
        session.expect("# ")
        session.send(b"tty; stty size; echo $TERM\n")
        assert "/dev/pts/0" in session.expect("xterm")
        session.send(b"exit 4\n")
        assert session.wait() == 4


def test_terminal_size_follows(ketchd: Ketchd, name: str) -> None:
    import fcntl
    import struct
    import termios

    with ketchd.terminal("run", "--rm", "-it", "--name", name, "busybox", "sh") as session:
        session.expect("# ")
        fcntl.ioctl(session.fd, termios.TIOCSWINSZ, struct.pack("HHHH", 33, 77, 0, 0))

        def resized() -> bool:
            return ketchd.out("exec", name, "stty", "-F", "/dev/pts/0", "size") == "33 77"

        wait_for(resized, "the terminal was not resized")
        session.send(b"exit\n")
        assert session.wait() == 0


def test_detach_and_attach(ketchd: Ketchd, name: str) -> None:
    with ketchd.terminal("run", "-it", "--name", name, "busybox", "sh") as session:
        session.expect("# ")
        session.send(b"\x10\x11")
        assert session.wait() == 0
    assert ketchd.out("inspect", "-f", "{{.State.Running}}", name) == "true"
    with ketchd.terminal("attach", name) as session:
        session.send(b"echo ag''ain\n")
        session.expect("again")
        session.send(b"exit 3\n")
        assert session.wait() == 3


def test_attach_without_terminal(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-d", "-i", "--name", name, "busybox", "sh", "-c", "read x; echo got $x")
    done = ketchd.docker("attach", name, input=b"hello\n")
    assert done.stdout == b"got hello\n"


def test_start_attach_interactive(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("create", "-i", "--name", name, "busybox", "cat")
    assert ketchd.docker("start", "-ai", name, input=b"piped").stdout == b"piped"


def test_signals_are_passed_on(ketchd: Ketchd, name: str) -> None:
    command = "trap 'echo caught; exit 9' TERM; echo ready; while :; do sleep 0.1; done"
    client = ketchd.popen(
        "run", "--rm", "--name", name, "busybox", "sh", "-c", command, stdout=subprocess.PIPE
    )
    assert client.stdout is not None
    assert client.stdout.readline() == b"ready\n"
    client.send_signal(signal.SIGTERM)
    assert client.stdout.read() == b"caught\n"
    assert client.wait(20) == 9


@pytest.fixture
def sleeper(ketchd: Ketchd, name: str) -> str:
    ketchd.docker("run", "-d", "--name", name, "-e", "BASE=1", "busybox", "sleep", "600")
    return name


def test_exec(ketchd: Ketchd, sleeper: str) -> None:
    done = ketchd.docker("exec", sleeper, "sh", "-c", "echo out; echo err >&2; exit 6", code=6)
    assert (done.stdout, done.stderr) == (b"out\n", b"err\n")
    assert ketchd.docker("exec", "-i", sleeper, "cat", input=b"in").stdout == b"in"
    text = ketchd.out(
        "exec",
        "-e",
        "X=y",
        "-w",
        "/tmp",
        "-u",
        "1000",
        sleeper,
        "sh",
        "-c",
        "echo $BASE $X; pwd; id -u",
    )
    assert text.split("\n") == ["1 y", "/tmp", "1000"]
    ketchd.docker("exec", sleeper, "no-such-program", code=127)
    ketchd.docker("exec", sleeper, "/etc", code=126)
    ketchd.docker("exec", "no-such-container", "true", code=1)


def test_exec_on_a_terminal(ketchd: Ketchd, sleeper: str) -> None:
    with ketchd.terminal("exec", "-it", sleeper, "sh") as session:
        session.expect("# ")
        session.send(b"tty\n")
        session.expect("/dev/pts/")
        session.send(b"exit 2\n")
        assert session.wait() == 2


def test_exec_detached(ketchd: Ketchd, sleeper: str) -> None:
    ketchd.docker("exec", "-d", sleeper, "touch", "/tmp/mark")
    wait_for(
        lambda: (
            ketchd.docker("exec", sleeper, "test", "-e", "/tmp/mark", code=None).returncode == 0
        ),
        "the detached command did not run",
    )


def test_logs(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "--name", name, "busybox", "sh", "-c", "echo a; echo b >&2; echo c")
    done = ketchd.docker("logs", name)
    assert (done.stdout, done.stderr) == (b"a\nc\n", b"b\n")
    ketchd.docker("rm", name)
    ketchd.docker("run", "--name", name, "busybox", "sh", "-c", "echo a; echo b; echo c")
    assert ketchd.out("logs", "--tail", "2", name) == "b\nc"
    assert ketchd.out("logs", "-t", "--tail", "1", name).split(" ")[0].endswith("Z")


def test_logs_follow(ketchd: Ketchd, name: str) -> None:
    ketchd.docker("run", "-di", "--name", name, "busybox", "sh", "-c",
                  "while read x; do echo line $x; done")  # fmt: skip
    follower = ketchd.popen("logs", "-f", name, stdout=subprocess.PIPE)
    feeder = ketchd.popen("attach", name, stdin=subprocess.PIPE, stdout=subprocess.DEVNULL)
    assert follower.stdout is not None
    assert feeder.stdin is not None
    for number in (b"1", b"2"):
        feeder.stdin.write(number + b"\n")
        feeder.stdin.flush()
        assert follower.stdout.readline() == b"line " + number + b"\n"
    ketchd.docker("stop", "-t", "0", name)
    assert follower.wait(20) == 0
    feeder.stdin.close()
    assert feeder.wait(20) == 137


def test_wait_for_a_quick_one(ketchd: Ketchd) -> None:
    started = time.monotonic()
    for _ in range(5):
        ketchd.docker("run", "--rm", "busybox", "true")
    assert time.monotonic() - started < 10
