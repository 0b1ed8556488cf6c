"""Carrying TCP connections from a listening socket to one address (child of a shim).

Each side's end (FIN) is passed on by itself, so half-closed connections work. Runs in a forked
process and imports nothing any more.
"""

import _socket
import time

from ketch.linux.eventpoll import READ, WRITE, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

IDLE = 30.0  # seconds without a connection until the process leaves
_CHUNK = 256 * 1024  # bytes that wait at most, in each direction
_PAUSE = 0.2  # seconds until the next try where fds or memory are short


def serve(fd: int, target: "tuple[str, int]") -> None:
    """Serve the listening socket ``fd``; returns when nobody has come for ``IDLE`` seconds."""
    _Relay(_socket.socket(fileno=fd), target).run()


class _Relay:
    __slots__ = ("_connections", "_listener", "_loop", "_running", "_target")

    def __init__(self, listener: "_socket.socket", target: "tuple[str, int]") -> None:
        self._loop = Loop()
        self._listener = listener
        self._target = target
        self._connections: set[_Connection] = set()
        self._running = True

    def run(self) -> None:
        self._listener.setblocking(False)
        self._listen()
        self._loop.at(time.monotonic() + IDLE, self._leave)
        while self._running:
            self._loop.turn()

    def _listen(self) -> None:
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def _accept(self, _events: int) -> None:
        sockets: list[_socket.socket] = []
        try:
            fd, _ = self._listener._accept()  # type: ignore[attr-defined]
            sockets.append(_socket.socket(fileno=fd))
            sockets.append(_connecting(self._target))
        except (BlockingIOError, ConnectionError):
            _close(sockets)
            return
        except OSError:  # no fds, no memory: others wait in the kernel's queue
            _close(sockets)
            self._loop.forget(self._listener.fileno())
            self._loop.at(time.monotonic() + _PAUSE, self._listen)
            return
        self._loop.cancel(self._leave)
        connection = _Connection(self._loop, sockets[0], sockets[1], self._over)
        self._connections.add(connection)
        connection.begin()

    def _over(self, connection: "_Connection") -> None:
        self._connections.discard(connection)
        if not self._connections:
            self._loop.at(time.monotonic() + IDLE, self._leave)

    def _leave(self) -> None:
        self._running = False


class _Way:
    """One direction: what was read and not sent yet, and whether the reader's end has come."""

    __slots__ = ("ended", "pending", "source", "target")

    def __init__(self, source: "_socket.socket", target: "_socket.socket") -> None:
        self.source = source
        self.target = target
        self.pending = memoryview(b"")
        self.ended = False

    def pump(self) -> None:
        """Move what can be moved now; raises OSError when a side is gone."""
        try:
            if not self.pending and not self.ended:
                self.pending = memoryview(self.source.recv(_CHUNK))
                if not self.pending:
                    self.ended = True
                    self.target.shutdown(_socket.SHUT_WR)
            if self.pending:
                sent = self.target.send(self.pending, _socket.MSG_NOSIGNAL)
                self.pending = self.pending[sent:]
        except BlockingIOError:
            pass


class _Connection:
    """A client's connection and ours to the container."""

    __slots__ = ("_loop", "_over", "_sockets", "_ways")

    def __init__(
        self,
        loop: Loop,
        client: "_socket.socket",
        server: "_socket.socket",
        over: "Callable[[_Connection], None]",
    ) -> None:
        self._loop = loop
        self._over = over
        self._sockets = (client, server)
        self._ways = (_Way(client, server), _Way(server, client))
        for sock in self._sockets:
            sock.setblocking(False)
            sock.setsockopt(_socket.SOL_SOCKET, _socket.SO_KEEPALIVE, 1)
            sock.setsockopt(_socket.IPPROTO_TCP, _socket.TCP_NODELAY, 1)

    def begin(self) -> None:
        """Wait for the container to take the connection."""
        self._loop.watch(self._sockets[1].fileno(), WRITE, self._connected)

    def _connected(self, _events: int) -> None:
        self._loop.forget(self._sockets[1].fileno())  # a watch keeps its callback
        if self._sockets[1].getsockopt(_socket.SOL_SOCKET, _socket.SO_ERROR):
            self._close()
        else:
            self._watch()

    def _pump(self, _events: int) -> None:
        try:
            for way in self._ways:
                way.pump()
        except OSError:
            self._close()
            return
        if all(way.ended and not way.pending for way in self._ways):
            self._close()
        else:
            self._watch()

    def _watch(self) -> None:
        """Watch for what brings us on, and nothing else: hang-ups are told again and again."""
        for own, other in (self._ways, self._ways[::-1]):
            fd = own.source.fileno()
            wanted = 0 if own.ended or own.pending else READ
            wanted |= WRITE if other.pending else 0
            if wanted:
                self._loop.watch(fd, wanted, self._pump)
            else:
                self._loop.forget(fd)

    def _close(self) -> None:
        for sock in self._sockets:
            self._loop.forget(sock.fileno())
        _close(self._sockets)
        self._over(self)


def _connecting(target: "tuple[str, int]") -> "_socket.socket":
    sock = _socket.socket(_socket.AF_INET, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    try:
        sock.setblocking(False)
        sock.connect_ex(target)  # a refusal is told by SO_ERROR
    except BaseException:
        sock.close()
        raise
    return sock


def _close(sockets: "list[_socket.socket] | tuple[_socket.socket, ...]") -> None:
    for sock in sockets:
        sock.close()
