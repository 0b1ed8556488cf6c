"""What is known of a client, told to the engine: who asked for a signal (``ketch why``)."""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING

from ketch.engine.caller import CALLER

if TYPE_CHECKING:
    from ketch.api.call import Call

_LONGEST_AGENT = 60


def introduce(call: Call) -> None:
    """Name the client for the rest of this request."""
    agent = call.request.headers.get("User-Agent", "")[:_LONGEST_AGENT]
    agent = "".join(c for c in agent if c.isprintable())
    CALLER.set(", ".join(filter(None, (agent, _peer(call)))))


def _peer(call: Call) -> str:
    """User and process of a client on the unix socket (SO_PEERCRED, unix(7))."""
    transport = call.request.transport
    sock = transport.get_extra_info("socket") if transport is not None else None
    if sock is None or sock.family != socket.AF_UNIX:
        return "over the network"
    try:
        data = sock.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, 12)
    except OSError:
        return ""
    pid, uid, _ = struct.unpack("3i", data)
    return f"process {pid} of user {uid}" if pid else ""
