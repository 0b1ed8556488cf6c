"""Logs whose driver runs in a process of its own, beside the shim.

For drivers that may wait (syslog, journald), and for ``mode=non-blocking``. The shim sends what
the container says, with the instant, over a socket; the process hands it to the driver and leaves
at the socket's end, when everything is delivered, also when the shim was killed.

What the process does not take yet waits in the shim. Blocking, the container is held back as long
as anything waits; non-blocking, up to ``buffer`` bytes wait and what does not fit is lost, as with
Docker.
"""

import _signal  # type: ignore[import-not-found]  # the stubs know it as signal
import _socket
import os
import sys
from collections import deque
from struct import Struct

from ketch.linux import process
from ketch.linux.eventpoll import READ, WRITE
from ketch.logs import drivers
from ketch.runtime import maker
from ketch.runtime.log_compressor import LogCompressor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.linux.eventpoll import Loop
    from ketch.logs.drivers import Log

    Wire = dict[str, Any]

_HEAD = Struct("=BQI")  # stream, ns since the epoch, length
_NAMES = {1: "stdout", 2: "stderr"}
_NUMBERS = {name: number for number, name in _NAMES.items()}
_READY = b"ready"


class LogRelay:
    """The shim's end. ``buffer`` is 0 for blocking. Raises OSError when the driver cannot begin."""

    __slots__ = ("_buffer", "_call", "_closing", "_loop", "_now", "_pending", "_size", "_sock",
                 "_told")  # fmt: skip

    def __init__(self, loop: "Loop", log: "Wire", now: "Callable[[], int]") -> None:
        self._loop = loop
        self._buffer = int(log.get("buffer") or 0)
        self._now = now
        self._pending: deque[memoryview] = deque()
        self._size = 0
        self._closing = self._told = False
        self._call: Callable[[], object] = bool
        self._sock = _begin(log)
        self._sock.setblocking(False)

    @property
    def full(self) -> bool:
        """Whether the container must be held back."""
        return not self._buffer and bool(self._pending)

    @property
    def pending(self) -> bool:
        """Whether something waits here, or the driver's process is not done after the end."""
        return bool(self._pending) or (self._closing and self._sock.fileno() >= 0)

    def when_room(self, call: "Callable[[], object]") -> None:
        """Call when ``full`` may have changed."""
        self._call = call

    def write(self, stream: str, data: bytes) -> None:
        """Pass output on, or keep it, or (non-blocking) lose it."""
        if self._buffer and self._pending and self._size + len(data) > self._buffer:
            self._tell("log buffer is full; lines are lost")
            return
        self._pending.append(memoryview(_HEAD.pack(_NUMBERS[stream], self._now(), len(data))))
        self._pending.append(memoryview(data))
        self._size += _HEAD.size + len(data)
        if len(self._pending) == 2:
            self._flush(0)

    def close(self) -> None:
        """No more will come; the process gets what waits, and the end, and then leaves."""
        self._closing = True
        if not self._pending:
            self._end()

    def abandon(self) -> None:
        """Lose what waits."""
        self._drop()

    def _flush(self, _events: int) -> None:
        try:
            while self._pending:
                sent = self._sock.send(self._pending[0], _socket.MSG_NOSIGNAL)
                self._size -= sent
                if sent == len(self._pending[0]):
                    self._pending.popleft()
                else:
                    self._pending[0] = self._pending[0][sent:]
        except BlockingIOError:
            self._loop.watch(self._sock.fileno(), WRITE, self._flush)
            return
        except OSError as error:
            self._tell(f"log process: {error}; lines are lost")
            self._pending.clear()
            self._size = 0
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
        if self._closing:
            self._end()
        self._call()

    def _end(self) -> None:
        try:
            self._sock.shutdown(_socket.SHUT_WR)
        except OSError:
            self._drop()
            return
        self._loop.watch(self._sock.fileno(), READ, lambda _: self._drop())

    def _drop(self) -> None:
        self._pending.clear()
        self._size = 0
        if self._sock.fileno() >= 0:
            self._loop.forget(self._sock.fileno())
            self._sock.close()

    def _tell(self, text: str) -> None:
        if not self._told:
            self._told = True
            print(f"ketch: {text}", file=sys.stderr, flush=True)


def _begin(log: "Wire") -> "_socket.socket":
    """Fork the driver's process, by way of a child that leaves, and wait until it is ready."""
    ours, theirs = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    child = maker.fork(lambda: _fork_again(log, theirs))
    theirs.close()
    os.waitpid(child, 0)
    answer = ours.recv(4096)
    if answer != _READY:
        ours.close()
        raise OSError(answer.decode(errors="replace") or "the log process died")
    return ours


def _fork_again(log: "Wire", sock: "_socket.socket") -> None:
    """Nobody waits for the grandchild: it may have things to deliver when the shim is gone."""
    maker.fork(lambda: _run(log, sock))


def _run(log: "Wire", sock: "_socket.socket") -> None:
    with open("/proc/self/comm", "wb", buffering=0) as comm:
        comm.write(b"ketch-log")
    _signal.signal(_signal.SIGCHLD, _signal.SIG_IGN)
    kept = os.dup2(sock.detach(), 3)
    process.close_from(4)
    sock = _socket.socket(fileno=kept)
    try:
        driver = drivers.open_log(log)
    except (OSError, ValueError) as error:
        sock.sendall(str(error).encode())
        return
    file = drivers.file_of(driver)
    if file is not None and log.get("compress"):
        file.file.compressor = LogCompressor()
    sock.sendall(_READY)
    _serve(driver, sock)
    driver.close()


def _serve(driver: "Log", sock: "_socket.socket") -> None:
    with open(sock.fileno(), "rb", buffering=256 * 1024, closefd=False) as stream:
        while len(head := stream.read(_HEAD.size)) == _HEAD.size:
            number, instant, length = _HEAD.unpack(head)
            driver.clock.instant = instant
            driver.write(_NAMES[number], stream.read(length))
