"""A health probe by the network, from inside a container's network namespace.

Runs in a worker of the launcher, so nothing of the image is executed and a hostile server meets a
process that lives for one probe: what it reads, and how long, is bounded.
"""

import _socket
import os
import time

from ketch.linux import capabilities, process
from ketch.linux.namespaces import CLONE_NEWNET, setns

TYPE_CHECKING = False
if TYPE_CHECKING:
    Args = dict[str, object]

_LARGEST_HEAD = 65536
_SHOWN = 4096  # bytes of the answer
_BODY_PATIENCE = 0.5  # seconds; the head alone decides, the body is only shown


class TooSlow(Exception):
    """The time of the probe is over; ``args[0]`` is what came so far."""


def probe(args: "Args", fds: "list[int]") -> "Args":
    """``{"code": 0 or 1, "output"}``, or ``{"timeout": True, "output"}``.

    ``args``: ``hosts`` (addresses, tried one after another), ``port``, ``path`` ("" = only
    connect), ``authority``, ``statuses`` (pairs), ``seconds``. ``fds``: the network namespace.
    """
    setns(fds[0], CLONE_NEWNET)
    capabilities.clear_ambient()
    capabilities.set_(0, 0, 0)
    process.set_no_new_privileges()
    deadline = time.monotonic() + float(str(args["seconds"]))
    try:
        return _probe(args, deadline)
    except TooSlow as slow:
        return {"timeout": True, "output": _text(slow.args[0])}


def _probe(args: "Args", deadline: float) -> "Args":
    hosts, port = args["hosts"], int(str(args["port"]))
    assert isinstance(hosts, list)
    faults = []
    for host in hosts:
        try:
            sock = _connect(host, port, deadline)
        except OSError as error:
            faults.append(f"{_place(host, port)}: {os.strerror(error.errno or 0).lower()}")
            continue
        if not args["path"]:
            return {"code": 0, "output": f"connected to {_place(host, port)}"}
        try:
            return _ask(sock, args, deadline)
        except OSError as error:
            reason = os.strerror(error.errno or 0).lower()
            return {"code": 1, "output": f"GET {args['path']} from {_place(host, port)}: {reason}"}
    return {"code": 1, "output": "cannot connect to " + "; ".join(faults)}


def _connect(host: str, port: int, deadline: float) -> "_socket.socket":
    family = _socket.AF_INET6 if ":" in host else _socket.AF_INET
    sock = _socket.socket(family, _socket.SOCK_STREAM | _socket.SOCK_CLOEXEC)
    _within(sock, deadline, b"")
    try:
        sock.connect((host, port))
    except TimeoutError:
        raise TooSlow(b"") from None
    return sock


def _ask(sock: "_socket.socket", args: "Args", deadline: float) -> "Args":
    request = (
        f"GET {args['path']} HTTP/1.1\r\nHost: {args['authority']}\r\n"
        "User-Agent: ketch-health\r\nAccept: */*\r\nConnection: close\r\n\r\n"
    )
    _within(sock, deadline, b"")
    try:
        sock.sendall(request.encode())
    except TimeoutError:
        raise TooSlow(b"") from None
    head, body = _receive(sock, deadline)
    status = _status(head)
    if status is None:
        return {"code": 1, "output": "no HTTP answer: " + _text(head + body)}
    statuses = args["statuses"]
    assert isinstance(statuses, list)
    good = any(first <= status <= last for first, last in statuses)
    line = _text(head.partition(b"\r\n")[0])
    return {"code": 0 if good else 1, "output": f"{line}\n{_text(body)}"}


def _receive(sock: "_socket.socket", deadline: float) -> "tuple[bytes, bytes]":
    """The head, and as much of the body as is shown and comes soon."""
    data = b""
    while b"\r\n\r\n" not in data and len(data) <= _LARGEST_HEAD:
        chunk = _more(sock, deadline, data)
        if not chunk:
            return data, b""
        data += chunk
    head, _, body = data.partition(b"\r\n\r\n")
    soon = min(deadline, time.monotonic() + _BODY_PATIENCE)
    wanted = min(_SHOWN, _length(head))
    try:
        while len(body) < wanted and (chunk := _more(sock, soon, body)):
            body += chunk
    except (TooSlow, OSError):
        pass
    return head[:_LARGEST_HEAD], body[:_SHOWN]


def _more(sock: "_socket.socket", deadline: float, so_far: bytes) -> bytes:
    _within(sock, deadline, so_far)
    try:
        return sock.recv(8192)
    except TimeoutError:
        raise TooSlow(so_far) from None


def _length(head: bytes) -> int:
    for line in head.split(b"\r\n")[1:]:
        name, _, value = line.partition(b":")
        if name.strip().lower() == b"content-length" and value.strip().isdigit():
            return int(value[:20])
    return _SHOWN


def _status(head: bytes) -> "int | None":
    words = head.partition(b"\r\n")[0].split(b" ", 2)
    if len(words) < 2 or not words[0].startswith(b"HTTP/1."):
        return None
    return int(words[1]) if words[1].isdigit() and len(words[1]) == 3 else None


def _within(sock: "_socket.socket", deadline: float, so_far: bytes) -> None:
    left = deadline - time.monotonic()
    if left <= 0:
        raise TooSlow(so_far)
    sock.settimeout(left)


def _text(data: bytes) -> str:
    return data[:_SHOWN].decode(errors="replace")


def _place(host: str, port: int) -> str:
    return f"[{host}]:{port}" if ":" in host else f"{host}:{port}"
