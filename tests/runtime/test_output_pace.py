"""A strong flow is taken in large portions; a weak one at once."""

from __future__ import annotations

import os
import select
import socket
from collections.abc import Iterator

import pytest

from ketch.linux.eventpoll import Loop
from ketch.linux.splice import PIPE_MAX
from ketch.runtime.attached import Client
from ketch.runtime.attachments import Attachments
from ketch.runtime.output import Output
from ketch.runtime.stdin import Stdin

STRONG = 16 * 1024
ATTACH = {"stdin": False, "stdout": True, "stderr": True, "framed": False}


class Kept:
    """A log that takes everything."""

    full = pending = False

    def __init__(self) -> None:
        self.data = b""

    def write(self, _stream: str, data: bytes) -> None:
        self.data += data

    def close(self) -> None:
        pass

    def abandon(self) -> None:
        pass

    def when_room(self, call: object) -> None:
        pass


class Pump:
    """A process's pipe, an attached client, and the loop that moves bytes between them."""

    def __init__(self, log: Kept | None) -> None:
        self.loop = Loop()
        clients = Attachments(self.loop, False, bool)
        self.output = clients.output = Output(self.loop, log, clients)
        clients.stdin = Stdin(self.loop, -1, clients.refresh_all)
        source, self.pipe = os.pipe2(os.O_NONBLOCK | os.O_CLOEXEC)
        self.output.add_source(source, 1, True)
        self.client, theirs = socket.socketpair()
        self.client.setblocking(False)
        self.attached: Client = clients.add(theirs.detach(), ATTACH)
        self.attached.foreground = True

    def write(self, data: bytes) -> None:
        assert os.write(self.pipe, data) == len(data)

    def received(self) -> bytes:
        data = b""
        try:
            while part := self.client.recv(1 << 20):
                data += part
        except BlockingIOError:
            pass
        return data

    def awake(self) -> bool:
        """Whether the loop has something to do now, timers aside."""
        return bool(select.select([self.loop.fds()[0]], [], [], 0)[0])

    def close(self) -> None:
        if self.pipe >= 0:
            os.close(self.pipe)
        self.received()
        while not self.output.ended:
            self.loop.turn()
            self.received()
        self.attached.close()
        self.client.close()
        self.loop.close()


@pytest.fixture(params=["log", "no log"])
def pump(request: pytest.FixtureRequest) -> Iterator[Pump]:
    pump = Pump(Kept() if request.param == "log" else None)
    yield pump
    pump.close()


def test_after_much_nobody_is_woken_for_little(pump: Pump) -> None:
    pump.write(b"x" * STRONG)
    pump.loop.turn()
    pump.write(b"a")
    assert not pump.awake()
    pump.write(b"b")
    pump.loop.turn()
    assert pump.received() == b"x" * STRONG + b"ab"
    pump.write(b"c")
    assert pump.awake()


def test_little_is_passed_on_at_once(pump: Pump) -> None:
    for _ in range(5):
        pump.write(b"a line\n")
        assert pump.awake()
        pump.loop.turn()
        assert pump.received() == b"a line\n"


def test_the_pipe_holds_what_comes_meanwhile(pump: Pump) -> None:
    pump.write(b"x" * STRONG)
    pump.loop.turn()
    pump.write(b"y" * (PIPE_MAX - STRONG))


def test_the_end_of_a_strong_flow_is_seen_at_once(pump: Pump) -> None:
    pump.write(b"x" * STRONG)
    pump.loop.turn()
    pump.write(b"end")
    os.close(pump.pipe)
    pump.pipe = -1
    assert pump.awake()
    while not pump.output.ended:
        pump.loop.turn()
    assert pump.received().endswith(b"xend")


def test_a_client_that_holds_a_strong_flow_back_gets_all_of_it(pump: Pump) -> None:
    sent = received = 0
    while not pump.output.held:
        try:
            sent += os.write(pump.pipe, b"x" * STRONG)
        except BlockingIOError:
            pass
        pump.loop.turn()
    while received < sent:
        received += len(pump.received())
        if received < sent:
            pump.loop.turn()
    assert not pump.output.held
