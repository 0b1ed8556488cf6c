"""What parent and child of a sandbox say to each other: typed messages with fds over a socketpair.

Parent → child: ``mapped`` (user IDs are mapped), ``launch`` (a plan and its fds).
Child → parent: ``staged``, ``ready`` (with the pty master as fd, if any), ``failed`` (message, exit
code). The end of the stream after ``ready`` means that execve(2) succeeded, since the child's end
is close-on-exec. The encoding is ``marshal``: both ends are one program.
"""

import _socket
import errno
import fcntl
import marshal
import os

from ketch.errors import StartFailed
from ketch.linux import fastjson
from ketch.linux.fdpass import receive_frame, send_frame

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class Channel:
    """One end of the socketpair."""

    def __init__(self, sock: "_socket.socket") -> None:
        self.sock = sock
        self._report = -1

    def report_to(self, fd: int) -> None:
        """Close the socket; what is sent from now on is written to ``fd`` as JSON."""
        self._report = fd
        self.sock.close()

    def move_to(self, number: int) -> None:
        """Take the fd ``number`` instead of the present one, close-on-exec."""
        os.dup2(self.sock.detach(), number, inheritable=False)
        self.sock = _socket.socket(fileno=number)

    def die_with_peer(self) -> None:
        """Be killed when the other side closes, or dies; no word of it may be under way.

        Raises OSError when it is gone already.
        """
        number = self.sock.fileno()
        fcntl.fcntl(number, fcntl.F_SETOWN, os.getpid())  # SIGIO: nobody here has a handler
        flags = fcntl.fcntl(number, fcntl.F_GETFL)
        fcntl.fcntl(number, fcntl.F_SETFL, flags | os.O_ASYNC)
        try:
            self.sock.recv(1, _socket.MSG_PEEK | _socket.MSG_DONTWAIT)
        except BlockingIOError:
            return
        raise BrokenPipeError(errno.EPIPE, os.strerror(errno.EPIPE))

    def live_on(self) -> None:
        """Take ``die_with_peer`` back."""
        flags = fcntl.fcntl(self.sock.fileno(), fcntl.F_GETFL)
        fcntl.fcntl(self.sock.fileno(), fcntl.F_SETFL, flags & ~os.O_ASYNC)

    def send(self, kind: str, body: "Any" = None, fds: "Sequence[int]" = ()) -> None:
        """Send one message; raises OSError (EPIPE) when the other side is gone."""
        if self._report >= 0:
            os.write(self._report, fastjson.dumps([kind, body]))
            return
        send_frame(self.sock, marshal.dumps((kind, body)), fds)

    def receive(self) -> "tuple[str, Any, list[int]]":
        """The next message; kind ``""`` at the end of the stream."""
        frame = receive_frame(self.sock)
        if frame is None:
            return "", None, []
        kind, body = marshal.loads(frame[0])
        return kind, body, frame[1]

    def expect(self, wanted: str) -> "tuple[Any, list[int]]":
        """The next message, which must be ``wanted``; raises ``StartFailed`` for ``failed``."""
        kind, body, fds = self.receive()
        if kind == wanted:
            return body, fds
        raise unexpected(kind, body)

    def expect_end(self) -> None:
        """Wait for the end of the stream; raises ``StartFailed`` for ``failed``."""
        kind, body, _ = self.receive()
        if kind:
            raise unexpected(kind, body)

    def close(self) -> None:
        """Close this end."""
        self.sock.close()


def unexpected(kind: str, body: "Any") -> StartFailed:
    """The failure that a message means which was not waited for."""
    if kind == "failed":
        message, code = body
        return StartFailed(message, code)
    return StartFailed(f"the sandbox process died before it could start ({kind or 'no word'})", 128)


def channel_pair() -> "tuple[Channel, Channel]":
    """(parent's end, child's end)."""
    ours, theirs = _socket.socketpair(
        _socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC, 0
    )
    return Channel(ours), Channel(theirs)
