"""A shim's connections to daemons: events out, requests in.

The first is the control socket that the daemon made; others come through the shim's own socket,
where a daemon that was started anew finds the shim. Each connection gets the events so far, then
those that follow. A daemon that does not read is dropped: it must never hold a container up.
"""

import os

from ketch.linux import unixpath
from ketch.linux.eventpoll import READ
from ketch.runtime import failures, protocol
from ketch.runtime.protocol import Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from ketch.linux.eventpoll import Loop

    Body = dict[str, Any]
    Handler = Callable[[Message], "Body | None"]

_MSG_DONTWAIT = 0x40


class AlreadyRunning(Exception):
    """Another shim answers at the socket's path."""


class Control:
    """``handle`` gets each request and returns the fields of the answer, None for no answer.

    It raises LookupError or ValueError for what cannot be done.
    """

    def __init__(self, loop: "Loop", handle: "Handler") -> None:
        self._loop = loop
        self._handle = handle
        self._connections: dict[int, _socket.socket] = {}
        self._events: list[Body] = []
        self._listener: _socket.socket | None = None
        self._path = ""

    @property
    def connected(self) -> bool:
        """Whether any daemon is there."""
        return bool(self._connections)

    def listen(self, listener: "_socket.socket", path: str) -> None:
        """Answer at ``path``, where ``claim`` made ``listener``."""
        listener.setblocking(False)
        self._listener = listener
        self._path = path
        self._loop.watch(self._listener.fileno(), READ, self._accept)

    def add(self, sock: "_socket.socket") -> None:
        """Serve a connection."""
        sock.setblocking(False)
        self._connections[sock.fileno()] = sock
        self._loop.watch(sock.fileno(), READ, lambda _: self._receive(sock))
        for event in self._events:
            self._send(sock, event)

    def announce(self, event: "Body", *, keep: bool = True) -> None:
        """Tell every connection, and (``keep``) those that come later."""
        if keep:
            self._events.append(event)
        for sock in tuple(self._connections.values()):
            self._send(sock, event)

    def close(self) -> None:
        """Stop listening and end all connections."""
        self.stop_listening()
        for sock in tuple(self._connections.values()):
            self._drop(sock)

    def stop_listening(self) -> None:
        """Give the path up: another process may listen there. Connections stay."""
        if self._listener is None:
            return
        self._loop.forget(self._listener.fileno())
        self._listener.close()
        self._listener = None
        try:
            os.unlink(self._path)
        except FileNotFoundError:
            pass

    def _accept(self, _events: int) -> None:
        assert self._listener is not None
        try:
            sock = unixpath.accept(self._listener)
        except OSError:
            return  # the caller has gone already, or no fds are left: it may try again
        if unixpath.peer_uid(sock) == 0:
            self.add(sock)
        else:
            sock.close()

    def _receive(self, sock: "_socket.socket") -> None:
        try:
            message = protocol.receive(sock, _MSG_DONTWAIT)
        except BlockingIOError:
            return
        except (OSError, ProtocolError):
            message = None
        if message is None:
            self._drop(sock)
            return
        try:
            self._answer(sock, message)
        finally:
            message.close()

    def _answer(self, sock: "_socket.socket", message: Message) -> None:
        seq = message.body.get("seq")
        try:
            fields = self._handle(message)
        except (LookupError, ValueError, TypeError, OSError) as error:
            fields = {"ok": False, **failures.to_wire(error)}
        if seq is not None:
            self._send(sock, {"event": "answer", "seq": seq, "ok": True, **(fields or {})})

    def _send(self, sock: "_socket.socket", body: "Body") -> None:
        try:
            protocol.send(sock, body, flags=_MSG_DONTWAIT)
        except OSError:
            self._drop(sock)

    def _drop(self, sock: "_socket.socket") -> None:
        fd = sock.fileno()
        if self._connections.pop(fd, None) is not None:
            self._loop.forget(fd)
            sock.close()


def claim(path: str) -> "_socket.socket":
    """Listen at ``path`` for a ``Control``; raises ``AlreadyRunning``, OSError."""
    if os.path.lexists(path):
        _clear(path)
    return unixpath.listen(path)


def _clear(path: str) -> None:
    """Remove a socket that a killed shim left; raises ``AlreadyRunning`` when one answers."""
    try:
        unixpath.connect(path).close()
    except ConnectionRefusedError:
        os.unlink(path)
        return
    raise AlreadyRunning(f"another supervisor answers at {path}")
