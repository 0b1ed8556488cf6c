"""No file descriptor is left (EMFILE), at each point of what is done: an error and no leak."""

from __future__ import annotations

import os
import resource
import socket
import tempfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketchd_process import Ketchd, wait_for

pytestmark = pytest.mark.root


@pytest.fixture(scope="module")
def engine() -> Iterator[Ketchd]:
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    try:
        daemon.start()
        load_busybox(daemon)
        daemon.docker("run", "-d", "--name", "bystander", "busybox", "sleep", "600")
        yield daemon
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)


def daemon_pid(engine: Ketchd) -> int:
    assert engine.process is not None
    return engine.process.pid


def launcher_pid(engine: Ketchd) -> int:
    return int((engine.run / "launcher.pid").read_text())


def descriptors(pid: int) -> list[int]:
    return sorted(int(name) for name in os.listdir(f"/proc/{pid}/fd"))


@contextmanager
def only(pid: int, more: int) -> Iterator[None]:
    """``more`` descriptors can be opened by the process, and no further ones."""
    used, limit = set(descriptors(pid)), 0
    while more or limit in used:
        more -= limit not in used
        limit += 1
    before = resource.prlimit(pid, resource.RLIMIT_NOFILE)
    resource.prlimit(pid, resource.RLIMIT_NOFILE, (limit, before[1]))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_NOFILE, before)


def at_rest(engine: Ketchd, pid: int) -> int:
    """How many descriptors it holds when nothing happens and its pool is full."""
    seen: list[int] = []

    def steady() -> bool:
        seen.append(len(descriptors(pid)))
        return len(seen) > 30 and len(set(seen[-30:])) == 1

    wait_for(steady, f"the descriptors never settle: {seen[-30:]}")
    return seen[-1]


@pytest.mark.parametrize("who", [daemon_pid, launcher_pid], ids=["daemon", "launcher"])
def test_each_number_of_files(engine: Ketchd, who: Callable[[Ketchd], int], tmp_path: Path) -> None:
    file = tmp_path / "file"
    file.write_text("content")
    pid = who(engine)
    before = at_rest(engine, pid)
    codes: list[int] = []
    for more in range(1, 22, 2):
        with only(pid, more):
            for words in (
                ("run", "--rm", "busybox", "true"),
                ("exec", "bystander", "true"),
                ("cp", str(file), "bystander:/file"),
            ):
                done = engine.docker(*words, code=None, timeout=30)
                codes.append(done.returncode)
                assert done.returncode in (0, 1, 125, 126, 128), done
                assert (done.stdout + done.stderr == b"") == (done.returncode == 0) or (
                    words[0] == "cp"
                )
    assert 0 in codes
    assert codes[-1] == 0
    assert {1, 125, 126, 128} & set(codes)
    assert who(engine) == pid  # nobody had to be started anew
    assert engine.out("ps", "-q", "--filter", "name=bystander") != ""
    engine.docker("run", "--rm", "busybox", "true")
    assert at_rest(engine, pid) <= before + 1


def test_too_many_clients(engine: Ketchd) -> None:
    """Who comes when there is no room waits, and is served when there is."""
    pid = daemon_pid(engine)
    before = at_rest(engine, pid)
    clients = []
    with only(pid, 20):
        for _ in range(40):
            client = socket.socket(socket.AF_UNIX)
            client.connect(str(engine.socket))
            clients.append(client)
        wait_for(lambda: len(descriptors(pid)) >= before + 20, "they were not accepted")
        for client in clients:
            client.close()
        assert engine.docker("ps", timeout=120).returncode == 0
    assert at_rest(engine, pid) <= before + 1


def ask(client: socket.socket, path: str) -> bytes:
    """The head of an answer; the connection is kept alive."""
    client.sendall(f"GET {path} HTTP/1.1\r\nHost: x\r\n\r\n".encode())
    return client.recv(1 << 16)


def connect(engine: Ketchd) -> socket.socket:
    client = socket.socket(socket.AF_UNIX)
    client.settimeout(30)
    client.connect(str(engine.socket))
    return client


def test_idle_clients_give_way(engine: Ketchd) -> None:
    """Who comes is served at once, and takes the room of a connection that was only kept alive."""
    pid = daemon_pid(engine)
    before = at_rest(engine, pid)
    kept = []
    with only(pid, 6):
        for _ in range(20):
            kept.append(connect(engine))
            assert ask(kept[-1], "/_ping").startswith(b"HTTP/1.1 200")
        assert engine.docker("ps", "-q", timeout=10).returncode == 0
        assert kept[0].recv(1) == b""  # it was idle, and is closed properly
    assert ask(connect(engine), "/_ping").startswith(b"HTTP/1.1 200")
    for client in kept:
        client.close()
    assert at_rest(engine, pid) <= before + 1


def test_idle_clients_stay_where_there_is_room(engine: Ketchd) -> None:
    clients = [connect(engine) for _ in range(20)]
    for _ in range(2):
        for client in clients:
            assert ask(client, "/_ping").startswith(b"HTTP/1.1 200")
    for client in clients:
        client.close()


def test_who_waits_in_vain_is_told_why(engine: Ketchd) -> None:
    """All that can be opened is held by clients that wait for something: none of them is cut."""
    pid = daemon_pid(engine)
    before = at_rest(engine, pid)
    with only(pid, 4):
        busy = [connect(engine) for _ in range(4)]
        for client in busy:
            assert ask(client, "/events").startswith(b"HTTP/1.1 200")
        refused = engine.docker("ps", code=1, timeout=30)
        assert b"ketchd has as many files open as it may" in refused.stderr
        busy.pop().close()
        assert engine.docker("ps", timeout=30).returncode == 0
        for client in busy:
            client.setblocking(False)
            with pytest.raises(BlockingIOError):
                client.recv(1)
            client.close()
    assert at_rest(engine, pid) <= before + 1


def test_the_daemon_may_open_what_the_hard_limit_allows() -> None:
    """As dockerd does; containers keep the limit that it was started with."""
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")))
    before = resource.getrlimit(resource.RLIMIT_NOFILE)
    if before[1] < 2000:
        pytest.skip("the hard limit is low")
    try:
        resource.setrlimit(resource.RLIMIT_NOFILE, (512, before[1]))
        try:
            daemon.start()
        finally:
            resource.setrlimit(resource.RLIMIT_NOFILE, before)
        load_busybox(daemon)
        ports = ("-p", "127.0.0.1:20000-20299:20000-20299", "-p", "[::1]:20000-20299:20000-20299")
        assert daemon.out("run", "--rm", *ports, "busybox", "sh", "-c", "ulimit -n") == "512"
        daemon.shutdown_everything()
        assert_clean(daemon)
    finally:
        clean_up(daemon)
