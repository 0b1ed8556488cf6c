"""Messages of launcher, shims and workers: one JSON object per packet, fds beside it.

``AF_UNIX SOCK_SEQPACKET`` keeps the borders of messages (unix(7)). A message of more than
``MAX_PACKET`` bytes travels as a memfd, sealed so that the sender cannot change it any more; the
packet then is ``{"memfd": true}`` and the memfd the first fd. The layout of the objects is in
``docs/contracts.md`` and, as types, in ``ketch.runtime.messages``.
"""

import _socket
import fcntl
import os
from array import array

from ketch.linux import fastjson
from ketch.linux.descriptors import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

VERSION = 2
_PACKAGE = os.stat(f"{os.path.dirname(__file__)}/../__init__.py")
RELEASE = f"{VERSION} {_PACKAGE.st_ino} {_PACKAGE.st_mtime_ns}"
"""What a launcher was started from. Workers import modules when they are wanted: after an upgrade
those are others than the launcher's own, so the next daemon wants a launcher of its release."""
MAX_PACKET = 128 * 1024
MAX_MESSAGE = 64 << 20
MAX_FDS = 250  # SCM_MAX_FD of the kernel is 253

_SEALS = fcntl.F_SEAL_SEAL | fcntl.F_SEAL_SHRINK | fcntl.F_SEAL_GROW | fcntl.F_SEAL_WRITE
_MEMFD_FLAGS = os.MFD_CLOEXEC | os.MFD_ALLOW_SEALING
_ANCILLARY_SPACE = _socket.CMSG_SPACE(MAX_FDS * 4)
_PEEK_SIZE = _socket.MSG_PEEK | _socket.MSG_TRUNC
_LARGE = b'{"memfd":true}'


class ProtocolError(ValueError):
    """The other side sent something that is no message."""


class Message:
    """A received message: the object, its bytes (to pass it on unchanged), the fds with it.

    The fds belong to the receiver, who closes them.
    """

    __slots__ = ("body", "fds", "raw")

    def __init__(self, body: "dict[str, Any]", raw: bytes, fds: "list[int]") -> None:
        self.body = body
        self.raw = raw
        self.fds = fds

    def close(self) -> None:
        """Close the fds that nobody took."""
        close_all(self.fds)
        self.fds = []


def send(
    sock: "_socket.socket", body: "dict[str, Any]", fds: "Sequence[int]" = (), flags: int = 0
) -> None:
    """Send one message; raises OSError (BlockingIOError when the queue is full)."""
    send_raw(sock, fastjson.dumps(body), fds, flags)


def send_raw(
    sock: "_socket.socket", payload: bytes, fds: "Sequence[int]" = (), flags: int = 0
) -> None:
    """``send`` of an object that is encoded already."""
    if len(fds) > MAX_FDS:
        raise ProtocolError(f"{len(fds)} file descriptors in one message, at most {MAX_FDS}")
    if len(payload) <= MAX_PACKET:
        _send_packet(sock, payload, fds, flags)
        return
    memfd = _sealed(payload)
    try:
        _send_packet(sock, _LARGE, (memfd, *fds), flags)
    finally:
        os.close(memfd)


def _send_packet(sock: "_socket.socket", data: bytes, fds: "Sequence[int]", flags: int) -> None:
    rights = [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, array("i", fds))] if fds else []
    sock.sendmsg([data], rights, flags | _socket.MSG_NOSIGNAL)


def _sealed(payload: bytes) -> int:
    memfd = os.memfd_create("ketch-message", _MEMFD_FLAGS)
    try:
        view = memoryview(payload)
        while view:
            view = view[os.write(memfd, view) :]
        fcntl.fcntl(memfd, fcntl.F_ADD_SEALS, _SEALS)
    except OSError:
        os.close(memfd)
        raise
    return memfd


def receive(sock: "_socket.socket", flags: int = 0) -> "Message | None":
    """The next message; None when the other side is gone.

    Raises BlockingIOError when there is none yet, ``ProtocolError`` for what is no message (its
    fds are closed then).
    """
    packet = receive_packet(sock, flags)
    return None if packet is None else decode(*packet)


def receive_packet(sock: "_socket.socket", flags: int = 0) -> "tuple[bytes, list[int]] | None":
    """``receive`` without looking into the message: its bytes and fds, for ``decode``."""
    try:
        size = sock.recv_into(bytearray(1), 1, flags | _PEEK_SIZE)
        if not size:
            return None
        if size > MAX_PACKET:
            sock.recv(1, flags)
            raise ProtocolError(f"a packet of {size} bytes, at most {MAX_PACKET}")
        data, ancillary, got, _ = sock.recvmsg(
            size, _ANCILLARY_SPACE, flags | _socket.MSG_CMSG_CLOEXEC
        )
    except ConnectionResetError:  # it died with words of ours unread; its own are still here
        return receive_packet(sock, flags)
    except ConnectionError:
        return None
    fds = _rights(ancillary)
    if got & _socket.MSG_CTRUNC:
        close_all(fds)
        raise ProtocolError("file descriptors were lost on the way")
    return data, fds


def decode(data: bytes, fds: "list[int]") -> Message:
    """The message of a packet; raises ``ProtocolError``, with the fds closed."""
    try:
        return _message(data, fds)
    except ValueError as error:
        close_all(fds)
        raise ProtocolError(str(error)) from None


def _rights(ancillary: "list[tuple[int, int, bytes]]") -> "list[int]":
    fds = array("i")
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            fds.frombytes(data[: len(data) - len(data) % 4])
    return fds.tolist()


def _message(data: bytes, fds: "list[int]") -> Message:
    if data == _LARGE:
        if not fds:
            raise ProtocolError("the memfd of a large message is missing")
        memfd = fds.pop(0)
        try:
            data = _unsealed(memfd)
        finally:
            os.close(memfd)
    body = fastjson.loads(data)
    if not isinstance(body, dict):
        raise ProtocolError("a message is a JSON object")
    return Message(body, data, fds)


def _unsealed(memfd: int) -> bytes:
    try:
        seals = fcntl.fcntl(memfd, fcntl.F_GET_SEALS)
    except OSError:
        raise ProtocolError("the fd of a large message is no memfd") from None
    if seals & _SEALS != _SEALS:
        raise ProtocolError("the memfd of a large message is not sealed")
    size = os.fstat(memfd).st_size
    if size > MAX_MESSAGE:
        raise ProtocolError(f"a message of {size} bytes, at most {MAX_MESSAGE}")
    return os.pread(memfd, size, 0)
