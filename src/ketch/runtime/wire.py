"""One SEQPACKET connection for asyncio: numbered requests, answers, events.

The engine's end of the protocol of ``ketch.runtime.protocol``.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Callable, Sequence
from typing import Any

import msgspec

from ketch.errors import Unavailable
from ketch.linux import fastjson, unixpath
from ketch.runtime import failures, protocol
from ketch.runtime.protocol import ProtocolError

Body = dict[str, Any]


class Lost(Unavailable):
    """The other side went away without an answer; what it did of what was asked, nobody tells."""


class Unsent(Lost):
    """The other side was gone before the message: another one may be asked the same."""


class Connection:
    """``on_event`` gets what is no answer, ``on_lost`` is called once when the other side is gone.
    Requests that it did not answer raise ``Lost`` then.

    Both are called on the event loop and must not raise.
    """

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        on_event: Callable[[Body], None],
        on_lost: Callable[[], None],
    ) -> None:
        self._loop = asyncio.get_running_loop()
        self._sock = sock
        self._name = name
        self._on_event = on_event
        self.on_lost = on_lost
        self._answers: dict[int, asyncio.Future[Body]] = {}
        self._next = 1
        self._turn = asyncio.Lock()
        self._room: asyncio.Future[None] | None = None  # whoever has the turn waits for it
        self.lost = False
        sock.setblocking(False)
        self._loop.add_reader(sock.fileno(), self._readable)

    async def request(self, body: Body, fds: Sequence[int] = ()) -> Body:
        """Send a request and await its answer.

        Raises what the other side answered, or ``Lost`` when it is gone.
        """
        seq, self._next = self._next, self._next + 1
        await self.post({**body, "seq": seq}, fds)
        answer: asyncio.Future[Body] = self._loop.create_future()  # nothing was read meanwhile
        self._answers[seq] = answer
        try:
            return await answer
        finally:
            self._answers.pop(seq, None)

    async def post(self, body: Body, fds: Sequence[int] = ()) -> None:
        """Send without awaiting an answer; raises ``Unsent``."""
        payload = _encoded(body)
        async with self._turn:  # keeps the order while somebody waits for room
            while True:
                if self.lost:
                    raise self._gone(Unsent)
                try:
                    protocol.send_raw(self._sock, payload, fds)
                    return
                except BlockingIOError:
                    await self._make_room()
                except (BrokenPipeError, ConnectionError):
                    self.close()
                    raise self._gone(Unsent) from None

    async def _make_room(self) -> None:
        self._room = self._loop.create_future()
        fd = self._sock.fileno()
        self._loop.add_writer(fd, settle, self._room)
        try:
            await self._room
        finally:
            self._room = None
            if not self.lost:
                self._loop.remove_writer(fd)

    def _readable(self) -> None:
        """Take all that is there."""
        while not self.lost:
            try:
                message = protocol.receive(self._sock)
            except BlockingIOError:
                return
            except (OSError, ProtocolError):
                message = None
            if message is None:
                self.close()
                return
            message.close()
            self._take(message.body)

    def _take(self, body: Body) -> None:
        if "seq" not in body:
            self._on_event(body)
            return
        answer = self._answers.get(body["seq"])
        if answer is None or answer.done():
            return
        if body.get("ok"):
            answer.set_result(body)
        else:
            answer.set_exception(failures.from_wire(body))

    def close(self) -> None:
        """End the connection; waiting requests fail, ``on_lost`` is called."""
        if self.lost:
            return
        self.lost = True
        fd = self._sock.fileno()
        self._loop.remove_reader(fd)
        self._loop.remove_writer(fd)
        self._sock.close()
        if self._room is not None:
            settle(self._room)
        for answer in self._answers.values():
            if not answer.done():
                answer.set_exception(self._gone())
        self.on_lost()

    def _gone(self, kind: type[Lost] = Lost) -> Lost:
        return kind(f"{self._name} is gone")


def _encoded(body: Body) -> bytes:
    """As ``fastjson.dumps``, which the other side imports, and in a tenth of its time."""
    try:
        return msgspec.json.encode(body)
    except UnicodeEncodeError:  # a file name that is no UTF-8
        return fastjson.dumps(body)


def settle(future: asyncio.Future[None]) -> None:
    """Mark a future as done; it may be so already."""
    if not future.done():
        future.set_result(None)


def connect(path: str) -> socket.socket:
    """A connection to the socket at ``path``; raises OSError."""
    return socket.socket(fileno=unixpath.connect(path).detach())


def pair() -> tuple[socket.socket, socket.socket]:
    """(ours, theirs) of a new connection."""
    return socket.socketpair(socket.AF_UNIX, socket.SOCK_SEQPACKET)
