"""The ``journald`` log driver: entries in the journal's native protocol.

https://systemd.io/JOURNAL_NATIVE_PROTOCOL: one datagram per entry, fields as ``NAME=value`` lines,
values with newlines as name, 64-bit little-endian length, value; entries too large for a datagram
go as a sealed memfd. Runs in a process of its own, like syslog. On the shim's import path.
"""

import _socket
import os
import sys
from errno import EMSGSIZE
from fcntl import F_ADD_SEALS, F_SEAL_GROW, F_SEAL_SEAL, F_SEAL_SHRINK, F_SEAL_WRITE, fcntl
from struct import Struct

from ketch.logs.lines import Lines
from ketch.logs.rfc3339 import Clock, format_ns

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SOCKET = "/run/systemd/journal/socket"
_LENGTH = Struct("<Q").pack
_FD = Struct("=i").pack
_SEALS = F_SEAL_SHRINK | F_SEAL_GROW | F_SEAL_WRITE | F_SEAL_SEAL
_PRIORITIES = {"stdout": b"6", "stderr": b"3"}


class JournaldLog:
    """``settings``: ``fields`` of every entry, ``socket`` (empty: the system's journal).

    Raises OSError when the journal does not answer now.
    """

    def __init__(self, settings: "dict[str, Any]") -> None:
        self._path = settings.get("socket") or SOCKET
        self._fields = b"".join(
            field(name, str(value).encode()) for name, value in settings["fields"].items()
        )
        self._lines = Lines(self._log)
        self._told = False
        self._sock = self._connect()
        self.clock = Clock()

    def write(self, stream: str, data: bytes) -> None:
        """Send the lines of ``data``."""
        self._lines.add(stream, data)

    def close(self) -> None:
        """Send what never got its newline."""
        self._lines.end()

    def _connect(self) -> "_socket.socket":
        sock = _socket.socket(_socket.AF_UNIX, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)
        sock.connect(self._path)
        return sock

    def _log(self, stream: str, data: bytes) -> None:
        head = self._fields + field("PRIORITY", _PRIORITIES[stream])
        head += field("SYSLOG_TIMESTAMP", format_ns(self.clock.now_ns()).encode())
        if not data.endswith(b"\n"):
            head += field("CONTAINER_PARTIAL_MESSAGE", b"true")
        for line in data.removesuffix(b"\n").split(b"\n"):
            self._deliver(head + field("MESSAGE", line))

    def _deliver(self, entry: bytes) -> None:
        for attempt in range(2):
            try:
                if attempt:
                    self._sock = self._connect()  # the journal was restarted
                _send(self._sock, entry)
                return
            except OSError as error:
                if attempt and not self._told:
                    self._told = True
                    text = f"ketch: journal {self._path}: {error}; lines are lost"
                    print(text, file=sys.stderr, flush=True)


def field(name: str, value: bytes) -> bytes:
    """One field of an entry."""
    if b"\n" in value or b"\0" in value:
        return name.encode() + b"\n" + _LENGTH(len(value)) + value + b"\n"
    return name.encode() + b"=" + value + b"\n"


def _send(sock: "_socket.socket", entry: bytes) -> None:
    try:
        sock.send(entry)
    except OSError as error:
        if error.errno != EMSGSIZE:
            raise
        memory = os.memfd_create("journal", os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING)
        try:
            os.write(memory, entry)
            fcntl(memory, F_ADD_SEALS, _SEALS)
            rights = (_socket.SOL_SOCKET, _socket.SCM_RIGHTS, _FD(memory))
            sock.sendmsg([b""], [rights])
        finally:
            os.close(memory)
