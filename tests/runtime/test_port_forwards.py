"""Ports that a shim carries: real sockets, a shim's loop in a process of its own."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Callable, Iterator

import pytest

from ketch.linux.eventpoll import Loop
from ketch.runtime import maker, relay_tcp
from ketch.runtime.port_forwards import PortForwards

pytestmark = pytest.mark.skipif(not os.path.exists("/proc/net/if_inet6"), reason="needs IPv6")
PATIENCE = 20.0


def wait_for(condition: Callable[[], bool]) -> None:
    deadline = time.monotonic() + PATIENCE
    while not condition():
        assert time.monotonic() < deadline
        time.sleep(0.01)


def bound(protocol: str) -> socket.socket:
    kind = socket.SOCK_STREAM if protocol == "tcp" else socket.SOCK_DGRAM
    sock = socket.socket(socket.AF_INET6, kind)
    sock.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
    sock.bind(("::1", 0))
    if protocol == "tcp":
        sock.listen(100)
    return sock


class Shim:
    """A process that forwards one port, as a shim does."""

    def __init__(self, protocol: str, target: tuple[str, int]) -> None:
        sock = bound(protocol)
        self.address = sock.getsockname()[:2]
        self.pid = maker.fork(lambda: self._run(protocol, sock.fileno(), target))
        sock.close()

    def _run(self, protocol: str, fd: int, target: tuple[str, int]) -> None:
        loop = Loop()
        forward = {"name": "x", "protocol": protocol, "target": target}
        PortForwards(loop).add(forward, os.dup(fd))
        os.close(fd)
        while True:
            loop.turn()

    def children(self) -> list[int]:
        with open(f"/proc/{self.pid}/task/{self.pid}/children") as file:
            return [int(word) for word in file.read().split()]

    def close(self) -> None:
        os.kill(self.pid, signal.SIGKILL)
        os.waitpid(self.pid, 0)


class EchoServer:
    """Says back what a client says, and ends when the client does."""

    def __init__(self) -> None:
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=100)
        self.address: tuple[str, int] = self._listener.getsockname()
        threading.Thread(target=self._accept, daemon=True).start()

    def _accept(self) -> None:
        while True:
            try:
                sock, _ = self._listener.accept()
            except OSError:
                return
            threading.Thread(target=self._echo, args=(sock,), daemon=True).start()

    def _echo(self, sock: socket.socket) -> None:
        with sock:
            while data := sock.recv(65536):
                sock.sendall(data)
            sock.sendall(b"end")

    def close(self) -> None:
        self._listener.shutdown(socket.SHUT_RDWR)
        self._listener.close()


@pytest.fixture
def echo() -> Iterator[EchoServer]:
    server = EchoServer()
    yield server
    server.close()


@pytest.fixture
def shim(echo: EchoServer) -> Iterator[Shim]:
    found = Shim("tcp", echo.address)
    yield found
    found.close()


def talk(address: tuple[str, int], said: bytes) -> bytes:
    """What comes back, when we say ``said`` and end our side; read late, so that buffers fill."""
    heard = []
    with socket.create_connection(address, timeout=PATIENCE) as sock:
        sender = threading.Thread(target=lambda: (sock.sendall(said), sock.shutdown(1)))
        sender.start()
        time.sleep(0.05)
        while data := sock.recv(65536):
            heard.append(data)
        sender.join()
    return b"".join(heard)


def test_much_data_and_half_closed_connections(shim: Shim) -> None:
    said = os.urandom(1 << 20) * 12
    assert talk(shim.address, said) == said + b"end"
    assert talk(shim.address, b"") == b"end"


def test_a_child_serves_from_the_first_client_on(shim: Shim) -> None:
    assert shim.children() == []
    talk(shim.address, b"x")
    (child,) = shim.children()
    talk(shim.address, b"x")
    os.kill(child, signal.SIGKILL)
    wait_for(lambda: child not in shim.children())
    assert talk(shim.address, b"again") == b"againend"


def test_a_child_without_clients_leaves(echo: EchoServer, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(relay_tcp, "IDLE", 0.1)
    shim = Shim("tcp", echo.address)
    try:
        talk(shim.address, b"x")
        wait_for(lambda: not shim.children())
        assert talk(shim.address, b"x") == b"xend"
    finally:
        shim.close()


def test_many_connections_at_once(shim: Shim) -> None:
    socks = [socket.create_connection(shim.address, timeout=PATIENCE) for _ in range(60)]
    for number, sock in enumerate(socks):
        sock.sendall(b"%d" % number)
    for number, sock in reversed(list(enumerate(socks))):
        assert sock.recv(10) == b"%d" % number
        sock.close()


def test_idle_connections_cost_no_time(shim: Shim) -> None:
    """One end half closed, the other silent: nothing to do but wait."""
    with socket.create_connection(shim.address, timeout=PATIENCE) as sock:
        sock.sendall(b"x")
        assert sock.recv(10) == b"x"
        (child,) = shim.children()
        before = cpu_ticks(child)
        time.sleep(0.3)
        assert cpu_ticks(child) - before <= 2


def cpu_ticks(pid: int) -> int:
    with open(f"/proc/{pid}/stat") as file:
        fields = file.read().rpartition(")")[2].split()
    return int(fields[11]) + int(fields[12])


def test_nobody_listens_inside() -> None:
    with socket.socket() as unused:
        unused.bind(("127.0.0.1", 0))
        shim = Shim("tcp", unused.getsockname())
        try:
            with socket.create_connection(shim.address, timeout=PATIENCE) as sock:
                assert sock.recv(1) == b""
        finally:
            shim.close()


def test_the_port_is_free_when_the_shim_is_gone(echo: EchoServer) -> None:
    shim = Shim("tcp", echo.address)
    talk(shim.address, b"x")
    (child,) = shim.children()
    shim.close()
    wait_for(lambda: not os.path.exists(f"/proc/{child}"))
    with socket.socket(socket.AF_INET6) as other:
        other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
        other.bind(shim.address)
        other.listen()


def test_closing_frees_the_port_at_once(echo: EchoServer) -> None:
    loop = Loop()
    ports = PortForwards(loop)
    sock = bound("tcp")
    forward = {"name": "x", "protocol": "tcp", "target": echo.address}
    ports.add(forward, os.dup(sock.fileno()))
    ports.add(forward, os.dup(sock.fileno()))  # known already
    address = sock.getsockname()[:2]
    sock.close()
    with socket.create_connection(address, timeout=PATIENCE) as client:
        loop.turn()  # forks
        client.sendall(b"x")
        assert client.recv(1) == b"x"
        assert ports.targets() == {"x": echo.address}
        ports.aim({**forward, "target": ("127.0.0.1", 9)})
        assert ports.targets() == {"x": ("127.0.0.1", 9)}
        assert client.recv(1) == b""
        ports.close()
        with socket.socket(socket.AF_INET6) as other:
            other.setsockopt(socket.SOL_SOCKET, socket.SO_REUSEADDR, 1)
            other.bind(address)
            other.listen()
    loop.close()


def test_datagrams_find_their_senders() -> None:
    with socket.socket(type=socket.SOCK_DGRAM) as server:
        server.bind(("127.0.0.1", 0))
        server.settimeout(PATIENCE)
        shim = Shim("udp", server.getsockname())
        try:
            clients = [socket.socket(socket.AF_INET6, socket.SOCK_DGRAM) for _ in range(3)]
            for number, client in enumerate(clients):
                client.settimeout(PATIENCE)
                client.connect(shim.address)
                client.send(b"%d" % number)
            for _ in clients:
                data, sender = server.recvfrom(100)
                server.sendto(b"answer " + data, sender)
            for number, client in enumerate(clients):
                assert client.recv(100) == b"answer %d" % number
                client.close()
        finally:
            shim.close()
