"""Unix sockets at any path: sun_path holds 107 bytes (unix(7)), directories may be deeper."""

import _socket
import os
import sys

_LIMIT = 107


def listen(path: str, backlog: int = 64) -> "_socket.socket":
    """A listening SEQPACKET socket at ``path``, mode 0600; raises OSError (EADDRINUSE)."""
    sock = _seqpacket()
    old = os.umask(0o177)
    try:
        _at(path, sock.bind)
        sock.listen(backlog)
    except OSError:
        sock.close()
        raise
    finally:
        os.umask(old)
    return sock


def connect(path: str) -> "_socket.socket":
    """A SEQPACKET connection to ``path``; raises OSError (ENOENT, ECONNREFUSED: nobody there)."""
    sock = _seqpacket()
    try:
        _at(path, sock.connect)
    except OSError:
        sock.close()
        raise
    return sock


def accept(listener: "_socket.socket") -> "_socket.socket":
    """The next connection, non-blocking."""
    fd, _ = listener._accept()  # type: ignore[attr-defined]
    sock = _socket.socket(fileno=fd)
    sock.setblocking(False)
    return sock


def peer_uid(sock: "_socket.socket") -> int:
    """The user that made the other end (SO_PEERCRED)."""
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[4:8], sys.byteorder)


def peer_pid(sock: "_socket.socket") -> int:
    """The process that made the other end, or listens there (SO_PEERCRED)."""
    credentials = sock.getsockopt(_socket.SOL_SOCKET, _socket.SO_PEERCRED, 12)
    return int.from_bytes(credentials[:4], sys.byteorder)


def _seqpacket() -> "_socket.socket":
    return _socket.socket(_socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC)


def _at(path: str, call: object) -> None:
    assert callable(call)
    if len(os.fsencode(path)) <= _LIMIT:
        call(path)
        return
    directory, name = os.path.split(path)
    fd = os.open(directory or ".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        call(f"/proc/self/fd/{fd}/{name}")
    finally:
        os.close(fd)
