"""Whom the launcher talks to: daemons, warm members, the spare."""

import _socket
import os
import time
from collections import deque

from ketch.errors import KetchError, StartFailed
from ketch.linux import fastjson
from ketch.linux.eventpoll import READ, WRITE
from ketch.runtime import protocol
from ketch.runtime.protocol import Message, ProtocolError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ketch.linux.eventpoll import Loop
    from ketch.runtime.groundwork import Groundwork

    Body = dict[str, Any]

_MAX_WAITING = 1024  # answers
_MOST_IDLE = 8  # shims
_PATIENCE = 1.0  # seconds that shims wait after the latest one
_REST = 0.05  # seconds between the use of a spare and the making of the next


class Daemon:
    """A daemon's connection. Answers wait while it does not read; one that never does is cut."""

    def __init__(self, loop: "Loop", sock: "_socket.socket") -> None:
        self._loop = loop
        self._sock = sock
        self._waiting: deque[bytes] = deque()
        self._open = True

    def receive(self) -> "Message | None":
        """The next request; None when the daemon is gone; raises BlockingIOError."""
        return protocol.receive(self._sock, _socket.MSG_DONTWAIT)

    def answer(self, seq: object, fields: "Body") -> None:
        """Answer the request ``seq``; one without a number wants no answer."""
        if seq is None or not self._open:
            return
        self._waiting.append(fastjson.dumps({"seq": seq, "ok": True, **fields}))
        self.flush()

    def flush(self) -> None:
        """Send what waits."""
        try:
            while self._waiting and self._open:
                protocol.send_raw(self._sock, self._waiting[0], flags=_socket.MSG_DONTWAIT)
                self._waiting.popleft()
        except BlockingIOError:
            if len(self._waiting) > _MAX_WAITING:
                self.close()
        except OSError:
            self.close()
        if self._open:
            events = READ | (WRITE if self._waiting else 0)
            self._loop.watch(self._sock.fileno(), events, _never)

    def close(self) -> None:
        """End the connection."""
        if self._open:
            self._open = False
            self._loop.forget(self._sock.fileno())
            self._sock.close()

    def detach(self) -> "_socket.socket":
        """It is no daemon: the connection is the caller's."""
        self._open = False
        self._loop.forget(self._sock.fileno())
        return self._sock


def _never(_events: int) -> None:
    """Stands for the callback that is registered already."""


class Member:
    """A warm member as the launcher sees it; ``ready`` when its sandbox is."""

    __slots__ = ("_daemon", "_seq", "groundwork", "id", "ready", "sock")

    def __init__(
        self,
        name: str,
        sock: "_socket.socket",
        daemon: Daemon,
        seq: object,
        groundwork: "Groundwork",
    ) -> None:
        self.id = name
        self.sock = sock
        self.groundwork = groundwork
        self.ready = False
        self._daemon = daemon
        self._seq = seq

    def receive(self) -> "Body":
        """What the member says: ``{"ok": true}`` or what went wrong."""
        try:
            message = protocol.receive(self.sock, _socket.MSG_DONTWAIT)
        except (BlockingIOError, ProtocolError):
            message = None
        if message is None:
            return {"ok": False, "error": f"warm member {self.id} died", "kind": "unavailable"}
        body = message.body
        message.close()
        self.ready = bool(body.pop("ready"))
        return {"ok": self.ready, **body}

    def tell(self, answer: "Body") -> None:
        """Answer the request that made the member, once."""
        seq, self._seq = self._seq, None
        self._daemon.answer(seq, answer)

    def hand_over(self, message: Message, roots: "list[int]") -> bool:
        """Pass a START on; False when the member is dead.

        Raises ``StartFailed`` when its cgroup cannot have the limits that are asked for.
        """
        fds = (*roots, *message.fds)
        try:
            self.groundwork.take_place(message.body["start"])
            protocol.send_raw(self.sock, message.raw, fds, _socket.MSG_DONTWAIT)
        except OSError:
            self.groundwork.give_up()
            return False
        except KetchError as error:
            self.groundwork.give_up()
            raise StartFailed(error.message, 128) from None
        return True


class Crew:
    """Shims, or fitters: for the next task one that had another before, or a new one.

    Few wait, and not for long: they are for the rush, when a container follows the other.
    """

    def __init__(self, loop: "Loop", zygote: "_socket.socket") -> None:
        self._loop = loop
        self._zygote = zygote
        self._idle: list[_socket.socket] = []

    def hand_over(self, raw: bytes, fds: "Sequence[int]") -> None:
        """Pass a message on; raises OSError when there is nobody any more."""
        if not self.reuse(raw, fds):
            protocol.send_raw(self._zygote, raw, fds)

    def reuse(self, raw: bytes, fds: "Sequence[int]") -> bool:
        """Pass a message on to one that waits; False when there is none."""
        while self._idle:
            sock = self._idle[-1]
            try:
                _send_with_namespace(sock, raw, fds)
                return True
            except OSError:
                continue  # it has died, or there is no room for one more file
            finally:
                self._drop(sock)
        return False

    def add(self, sock: "_socket.socket") -> None:
        """Someone has time."""
        if len(self._idle) >= _MOST_IDLE:
            sock.close()
            return
        self._idle.append(sock)
        self._loop.watch(sock.fileno(), READ, lambda _: self._drop(sock))
        self._loop.at(time.monotonic() + _PATIENCE, self._dismiss)

    def _drop(self, sock: "_socket.socket") -> None:
        self._idle.remove(sock)
        self._loop.forget(sock.fileno())
        sock.close()

    def _dismiss(self) -> None:
        """The rush is over."""
        for sock in tuple(self._idle):
            self._drop(sock)


def _send_with_namespace(sock: "_socket.socket", raw: bytes, fds: "Sequence[int]") -> None:
    """A message, and our mount namespace: an idle shim is in the host's."""
    own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    try:
        protocol.send_raw(sock, raw, (own, *fds), _socket.MSG_DONTWAIT)
    finally:
        os.close(own)


class Spare:
    """One exec supervisor forked ahead; the next is made when the exec has had its time."""

    def __init__(self, loop: "Loop", zygote: "_socket.socket") -> None:
        self._loop = loop
        self._zygote = zygote
        self._sock: _socket.socket | None = None
        self._make()

    def _make(self) -> None:
        ours, theirs = _socket.socketpair(
            _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
        )
        try:
            protocol.send(self._zygote, {"op": "spare"}, [theirs.fileno()])
        except OSError:
            ours.close()  # the zygote is gone, and the launcher about to follow
            return
        finally:
            theirs.close()
        self._sock = ours
        self._loop.watch(ours.fileno(), READ, lambda _: self._drop())

    def _drop(self) -> None:
        """It is used, or dead."""
        if self._sock is not None:
            self._loop.forget(self._sock.fileno())
            self._sock.close()
            self._sock = None
        self._loop.at(time.monotonic() + _REST, self._make)

    def hand_over(self, raw: bytes, fds: "Sequence[int]") -> bool:
        """Pass an EXEC on; False when there is no spare."""
        if self._sock is None:
            return False
        try:
            protocol.send_raw(self._sock, raw, fds, _socket.MSG_DONTWAIT)
        except OSError:
            return False
        finally:
            self._drop()
        return True
