"""Carrying datagrams from a bound IPv6 socket to one address and back (child of a shim).

Each sender gets a socket of its own towards the container, so that answers find their way; they
leave by the address that the sender had asked (IPV6_PKTINFO, ipv6(7)). Runs in a forked process and
imports nothing any more.
"""

import _socket
import time

from ketch.linux.eventpoll import READ, Loop

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

SILENCE = 90.0  # seconds until a sender is forgotten; with the last one the process leaves
MOST_SENDERS = 1024  # the one that was silent longest makes room
_LARGEST = 65536  # bytes of a datagram
_AT_ONCE = 64  # datagrams per turn
_SPACE = _socket.CMSG_SPACE(20)  # struct in6_pktinfo


def serve(fd: int, target: "tuple[str, int]") -> None:
    """Serve the bound socket ``fd``; returns when no sender is left."""
    sock = _socket.socket(fileno=fd)
    sock.setblocking(False)
    sock.setsockopt(_socket.IPPROTO_IPV6, _socket.IPV6_RECVPKTINFO, 1)
    _Relay(sock, target).run()


class _Sender:
    __slots__ = ("address", "heard", "local", "sock")

    def __init__(self, address: "Any", local: "list[tuple[int, int, bytes]]") -> None:
        self.address = address
        self.local = local  # the ancillary data that makes answers leave from where it sent to
        self.heard = time.monotonic()
        self.sock = _socket.socket(_socket.AF_INET, _socket.SOCK_DGRAM | _socket.SOCK_CLOEXEC)


class _Relay:
    __slots__ = ("_loop", "_running", "_senders", "_sock", "_target")

    def __init__(self, sock: "_socket.socket", target: "tuple[str, int]") -> None:
        self._loop = Loop()
        self._sock = sock
        self._target = target
        self._senders: dict[object, _Sender] = {}  # the one silent longest comes first
        self._running = True

    def run(self) -> None:
        self._loop.watch(self._sock.fileno(), READ, self._outside)
        self._loop.at(time.monotonic() + SILENCE, self._forget_silent)
        while self._running:
            self._loop.turn()

    def _outside(self, _events: int) -> None:
        for _ in range(_AT_ONCE):
            try:
                data, ancillary, _, address = self._sock.recvmsg(_LARGEST, _SPACE)
            except BlockingIOError:
                return
            except OSError:
                continue  # what the network said about an answer
            try:
                self._sender(address, ancillary).sock.send(data)
            except OSError:
                continue  # nobody listens, or no fds are left: datagrams may be lost

    def _sender(self, address: "Any", ancillary: "list[tuple[int, int, bytes]]") -> _Sender:
        local = [part for part in ancillary if part[1] == _socket.IPV6_PKTINFO]
        key = (address, local[0][2] if local else b"")
        sender = self._senders.pop(key, None)
        if sender is None:
            if len(self._senders) >= MOST_SENDERS:
                self._forget(next(iter(self._senders)))
            sender = _Sender(address, local)
            sender.sock.setblocking(False)
            sender.sock.connect(self._target)
            self._loop.watch(sender.sock.fileno(), READ, lambda _: self._inside(key))
        sender.heard = time.monotonic()
        self._senders[key] = sender
        return sender

    def _inside(self, key: object) -> None:
        sender = self._senders[key]
        for _ in range(_AT_ONCE):
            try:
                data = sender.sock.recv(_LARGEST)
                self._sock.sendmsg([data], sender.local, 0, sender.address)
            except BlockingIOError:
                return
            except OSError:
                continue  # nobody listens inside, or the sender cannot be reached
        sender.heard = time.monotonic()

    def _forget_silent(self) -> None:
        now = time.monotonic()
        for key, sender in tuple(self._senders.items()):
            if now - sender.heard >= SILENCE:
                self._forget(key)
        self._running = bool(self._senders)
        self._loop.at(now + SILENCE / 2, self._forget_silent)

    def _forget(self, key: object) -> None:
        sender = self._senders.pop(key)
        self._loop.forget(sender.sock.fileno())
        sender.sock.close()
