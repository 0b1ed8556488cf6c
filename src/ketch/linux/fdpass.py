"""Bytes and fds over a stream socket: frames with SCM_RIGHTS (unix(7)).

A frame is a length and a count of fds (two 32-bit numbers), the fds in batches of at most 250
(SCM_MAX_FD is 253), and the payload. Both ends trust each other.
"""

import _socket
from struct import Struct

from ketch.linux.descriptors import close_all

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_HEADER = Struct("=II")
_BATCH = 250
_SPACE = _socket.CMSG_SPACE(_BATCH * 4)


def send_frame(sock: "_socket.socket", payload: bytes, fds: "Sequence[int]" = ()) -> None:
    """Send one frame; raises OSError (EPIPE when the other side is gone)."""
    sock.sendall(_HEADER.pack(len(payload), len(fds)))
    for start in range(0, len(fds), _BATCH):
        batch = fds[start : start + _BATCH]
        rights = Struct(f"={len(batch)}i").pack(*batch)
        sock.sendmsg([b"f"], [(_socket.SOL_SOCKET, _socket.SCM_RIGHTS, rights)])
    sock.sendall(payload)


def receive_frame(sock: "_socket.socket") -> "tuple[bytes, list[int]] | None":
    """The next frame, fds close-on-exec; None at the end of the stream."""
    header = _exactly(sock, _HEADER.size)
    if header is None:
        return None
    length, count = _HEADER.unpack(header)
    fds: list[int] = []
    while len(fds) < count:
        received = _some_fds(sock)
        if not received:
            close_all(fds)
            return None
        fds += received
    payload = _exactly(sock, length)
    if payload is None:
        close_all(fds)
        return None
    return payload, fds


def _some_fds(sock: "_socket.socket") -> "list[int]":
    flags = _socket.MSG_CMSG_CLOEXEC
    _, ancillary, _, _ = sock.recvmsg(1, _SPACE, flags)
    for level, kind, data in ancillary:
        if level == _socket.SOL_SOCKET and kind == _socket.SCM_RIGHTS:
            return list(Struct(f"={len(data) // 4}i").unpack(data))
    return []


def _exactly(sock: "_socket.socket", size: int) -> "bytes | None":
    data = b""
    while len(data) < size:
        chunk = sock.recv(size - len(data))
        if not chunk:
            return None
        data += chunk
    return data
