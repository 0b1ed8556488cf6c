"""How a client is attached to the stdio of a process: a container's or an exec's."""

from __future__ import annotations

import socket

import msgspec


class AttachOptions(msgspec.Struct, kw_only=True):
    """One client of a process's stdio. ``sock`` is the client's connection; the engine owns it."""

    sock: socket.socket
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = True
    logs: bool = False
    framed: bool = True  # stdcopy frames; False for a TTY
    detach_keys: str = "ctrl-p,ctrl-q"
    read_ahead: bytes = b""  # bytes of the client that the HTTP parser had already read
