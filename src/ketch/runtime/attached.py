"""One attached client: what goes to it, framed or raw, and what comes from it.

Output to a client is bounded: ``LIMIT`` bytes wait here at most, then the process is held back as
by any pipe that nobody reads. How long depends on the client:

- *foreground*: the only client that came with the start. The output is *its* output
  (``run app | slow``), nothing may be lost, so it may hold the process back for as long as it
  likes, as with Docker.
- *observer*: everybody else (``attach``). It may be slow, but when it has not taken one byte for
  ``PATIENCE`` while its buffer is full, it is disconnected (``ketch.runtime.output``). The log has
  what it missed.
"""

import _socket
import os
import time
from collections import deque
from struct import Struct

from ketch.linux import splice
from ketch.runtime.detach_keys import DetachKeys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

LIMIT = 1 << 20
PATIENCE = 2.0  # seconds; a slow network or a busy machine is no stall

_UNREAD_READS = 64  # a client that sends for ever does not hold us up
_SEND = _socket.MSG_DONTWAIT | _socket.MSG_NOSIGNAL
_FRAME = Struct(">B3xI").pack  # stdcopy: stream, three zeros, length


class Gone(Exception):
    """The client has closed its connection."""


class Client:
    """See the module's docstring. Streams are 1 (stdout) and 2 (stderr)."""

    __slots__ = (
        "_framed",
        "_sock",
        "_unix",
        "blocked",
        "buffered",
        "detach",
        "fd",
        "foreground",
        "owed",
        "owed_by",
        "pending",
        "progress_at",
        "silent",
        "stdin",
        "streams",
    )

    def __init__(self, fd: int, attach: "dict[str, Any]") -> None:
        self._sock = _socket.socket(fileno=fd)
        self._sock.setblocking(False)
        self.fd = fd
        self._unix = self._sock.family == _socket.AF_UNIX
        self._framed = bool(attach["framed"])
        self.streams = frozenset(n for n, key in ((1, "stdout"), (2, "stderr")) if attach[key])
        self.stdin = bool(attach["stdin"])
        self.silent = not self.stdin  # it never sends anything, so its end says that it is gone
        self.detach = DetachKeys(bytes(attach.get("detach_keys") or ()))
        self.foreground = False
        self.pending: deque[memoryview] = deque()
        self.buffered = 0
        self.blocked = False  # the socket took no more
        self.owed = 0  # bytes of an announced frame that are still in the pipe of ``owed_by``
        self.owed_by = -1
        self.progress_at = time.monotonic()

    @property
    def full(self) -> bool:
        """Whether the process must be held back."""
        return self.buffered >= LIMIT or self.owed > 0 or (self.blocked and not self.pending)

    @property
    def idle(self) -> bool:
        """Whether everything that was meant for the client is in its socket."""
        return not self.pending and not self.owed

    def send(self, stream: int, data: bytes) -> None:
        """Pass output on, or keep it; raises ``Gone``."""
        parts = [_FRAME(stream, len(data)), data] if self._framed else [data]
        sent = 0 if self.pending else self._send(parts)
        for part in parts:
            if sent < len(part):
                self.pending.append(memoryview(part)[sent:])
                self.buffered += len(part) - sent
            sent = max(0, sent - len(part))
        self.blocked = bool(self.pending)

    def flush(self) -> None:
        """Send what waits, as far as the socket takes it; raises ``Gone``."""
        while self.pending:
            sent = self._send([self.pending[0]])
            self.buffered -= sent
            if sent < len(self.pending[0]):
                self.pending[0] = self.pending[0][sent:]
                if not sent:
                    break
            else:
                self.pending.popleft()
        self.blocked = bool(self.pending)

    def splice(self, source: int, stream: int) -> int:
        """Move what is in the pipe ``source`` to the client without a copy; the number of bytes.

        Only while nothing is pending. A frame is announced with the number of bytes in the pipe
        and then owed: nothing else may be sent until it is complete, and ``full`` holds until then.
        Raises ``Gone``, also when somebody else took the announced bytes out of the pipe.
        """
        if not self.owed:
            self._announce(source, stream)
        moved = 0
        while self.owed and not self.pending:
            try:
                count = splice.move(source, self.fd, self.owed)
            except BlockingIOError:
                if not splice.readable_bytes(source):
                    raise Gone from None
                self.blocked = True
                break
            except OSError as error:
                raise Gone from error
            if not count:
                raise Gone
            self.owed -= count
            moved += count
        if moved:
            self.progress_at = time.monotonic()
        return moved

    def _announce(self, source: int, stream: int) -> None:
        size = splice.readable_bytes(source)
        self.owed, self.owed_by = size, source
        if not self._framed or not size:
            return
        header = _FRAME(stream, size)
        sent = self._send([header], _socket.MSG_MORE)
        if sent < len(header):
            self.pending.append(memoryview(header)[sent:])
            self.buffered = len(header) - sent
            self.blocked = True

    def _send(self, parts: "list[Any]", flags: int = 0) -> int:
        try:
            sent = self._sock.sendmsg(parts, (), _SEND | flags)
        except BlockingIOError:
            return 0
        except OSError as error:
            raise Gone from error
        self.progress_at = time.monotonic()
        return sent

    def receive(self) -> "bytes | None":
        """Bytes from the client, b"" at its end, None when there are none yet; raises ``Gone``."""
        try:
            return os.read(self.fd, 65536)
        except BlockingIOError:
            return None
        except OSError as error:
            raise Gone from error

    def stalled(self, now: float) -> bool:
        """Whether it is an observer that holds the process back and takes nothing."""
        return not self.foreground and self.full and now - self.progress_at >= PATIENCE

    def close(self) -> None:
        """End the stream, whoever else holds the connection; what was sent still arrives.

        Input that nobody read would turn the end into a connection reset (unix(7), tcp(7)).
        """
        try:
            self._sock.shutdown(_socket.SHUT_RDWR if self._unix else _socket.SHUT_WR)
            for _ in range(_UNREAD_READS):
                if not os.read(self.fd, 65536):
                    break
        except OSError:
            pass
        self._sock.close()
