"""Moving bytes between the user's stdio and a hijacked connection.

Output without a TTY is framed (Engine API, "Stream format": one byte for the stream, three
zeros, the length big-endian, the payload); with a TTY it is raw. Single-threaded: poll(2) over
stdin and the socket.
"""

import os
import select

from ketch.cli.detach import Detector

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket

CHUNK = 65536
SHUT_WR = 1


class Detached(Exception):
    """The user typed the detach keys."""


class Session:
    """One hijacked connection with the stdio behind it.

    With ``leaves_open`` and without stdin the connection is not half-closed: its end then means
    that this program is gone.
    """

    def __init__(
        self,
        sock: "_socket.socket",
        read_ahead: bytes,
        *,
        tty: bool,
        stdin: bool,
        keys: str = "",
        leaves_open: bool = False,
    ) -> None:
        self._sock = sock
        self._leaves_open = leaves_open
        self._tty = tty
        self._stdin = stdin
        self._rest = read_ahead
        self._detector = Detector(keys) if tty and stdin else None

    def pump(self) -> None:
        """Until the engine closes the connection; raises ``Detached``."""
        poller = select.poll()
        poller.register(self._sock.fileno(), select.POLLIN)
        if self._stdin:
            poller.register(0, select.POLLIN)
        elif not self._leaves_open:
            self._half_close()
        if self._rest:
            first, self._rest = self._rest, b""
            self._output(first)
        while True:
            for fd, _ in poller.poll():
                if fd == 0:
                    if not self._input():
                        poller.unregister(0)
                elif not self._receive():
                    return

    def _receive(self) -> bool:
        try:
            data = self._sock.recv(CHUNK)
        except ConnectionResetError:
            data = b""
        self._output(data)
        return bool(data)

    def _output(self, data: bytes) -> None:
        if self._tty:
            write_all(1, data)
            return
        self._rest = write_frames(self._rest + data)

    def _input(self) -> bool:
        """Forward what was typed or piped; at its end half-close. False when stdin is done."""
        try:
            data = os.read(0, CHUNK)
        except OSError:
            data = b""
        if not data:
            self._half_close()
            return False
        if self._detector is not None:
            data, detached = self._detector.feed(data)
            if detached:
                self._say_goodbye(data + self._detector.sequence)
                raise Detached
        try:
            self._sock.sendall(data)
        except (BrokenPipeError, ConnectionResetError):
            return False
        return True

    def _say_goodbye(self, keys: bytes) -> None:
        """Let the engine see the keys too: it tells a client that leaves from one that died."""
        try:
            self._sock.sendall(keys)
        except OSError:
            pass

    def _half_close(self) -> None:
        try:
            self._sock.shutdown(SHUT_WR)
        except OSError:
            pass


def write_frames(data: bytes) -> bytes:
    """Write the whole frames in ``data`` to stdout and stderr; returns the incomplete rest."""
    position, end = 0, len(data)
    while end - position >= 8:
        length = int.from_bytes(data[position + 4 : position + 8], "big")
        if end - position - 8 < length:
            break
        target = 2 if data[position] == 2 else 1
        write_all(target, data[position + 8 : position + 8 + length])
        position += 8 + length
    return data[position:]


def write_all(fd: int, data: bytes) -> None:
    """write(2) until everything is out."""
    while data:
        written = os.write(fd, data)
        data = data[written:]
