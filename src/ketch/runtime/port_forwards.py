"""Ports published on IPv6 addresses of the host: the shim's side.

Rules of the kernel lead an IPv4 address of the host to the container; from an IPv6 address to a
container that has none, a program has to carry the data. The daemon binds the sockets and gives
them to the shim, so they live exactly as long as the container, whatever becomes of the daemon.
Until the first client comes, the shim only watches a socket. Then a child of its own serves the
port, so that neither its work nor its faults touch the container; it leaves when it has had nothing
to do for a while.
"""

import os
import time

from ketch.linux import process
from ketch.linux.descriptors import close_all_but
from ketch.linux.eventpoll import READ
from ketch.runtime import maker, relay_tcp, relay_udp

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.linux.eventpoll import Loop

    Body = dict[str, Any]

_PAUSE = 1.0  # seconds after a child's end, lest one that dies at once is forked for ever
_RELAYS = {"tcp": relay_tcp.serve, "udp": relay_udp.serve}


class PortForwards:
    """By name; the name is the daemon's, which knows a port by it when it comes back."""

    __slots__ = ("_loop", "_ports")

    def __init__(self, loop: "Loop") -> None:
        self._loop = loop
        self._ports: dict[str, _Port] = {}

    def targets(self) -> "dict[str, tuple[str, int]]":
        """What is forwarded, and where to."""
        return {name: port.target for name, port in self._ports.items()}

    def add(self, forward: "Body", fd: int) -> None:
        """Forward what comes to the socket ``fd``, which is ours from now on.

        ``forward`` is ``{"name", "protocol", "target": [IPv4 address, port]}``. A name that is
        there already stays as it is. Raises LookupError for an unknown protocol.
        """
        name = str(forward["name"])
        if name in self._ports:
            os.close(fd)
            return
        self._ports[name] = _Port(self._loop, fd, forward["protocol"], _target(forward))

    def aim(self, forward: "Body") -> None:
        """Lead a port somewhere else; raises LookupError for an unknown one."""
        self._ports[str(forward["name"])].aim(_target(forward))

    def remove(self, name: str) -> None:
        """Let a port go, with its connections; one that is not there is no error."""
        port = self._ports.pop(name, None)
        if port is not None:
            port.close()

    def close(self) -> None:
        """Let all go."""
        for name in tuple(self._ports):
            self.remove(name)


def _target(forward: "Body") -> "tuple[str, int]":
    address, number = forward["target"]
    return str(address), int(number)


class _Port:
    """One socket, watched here or served by a child."""

    __slots__ = ("_fd", "_loop", "_pid", "_pidfd", "_serve", "target")

    def __init__(self, loop: "Loop", fd: int, protocol: str, target: "tuple[str, int]") -> None:
        self._serve = _RELAYS[protocol]
        self._loop = loop
        self._fd = fd
        self.target = target
        self._pid = 0
        self._pidfd = -1
        self._watch()

    def _watch(self) -> None:
        self._loop.watch(self._fd, READ, self._called)

    def _called(self, _events: int) -> None:
        """The first client: from here on the child serves."""
        self._loop.forget(self._fd)
        shim = os.getpid()
        try:
            self._pid = maker.fork(lambda: self._run(shim))
            self._pidfd = os.pidfd_open(self._pid)
        except OSError:  # no processes or no fds left
            self._loop.at(time.monotonic() + _PAUSE, self._watch)
            return
        self._loop.watch(self._pidfd, READ, self._ended)

    def _run(self, shim: int) -> None:
        process.set_name(b"ketch-forward")
        close_all_but([self._fd])  # clients must not wait for us to see the end of their stream
        process.die_with_parent(process.SIGKILL)
        if os.getppid() == shim:
            self._serve(self._fd, self.target)

    def _ended(self, _events: int) -> None:
        self._reap()
        self._loop.at(time.monotonic() + _PAUSE, self._watch)

    def _reap(self) -> None:
        self._loop.forget(self._pidfd)
        try:
            os.waitpid(self._pid, 0)
        except ChildProcessError:
            pass  # a subreaper's sweep was quicker
        os.close(self._pidfd)
        self._pidfd = -1

    def aim(self, target: "tuple[str, int]") -> None:
        """Lead the clients to come to ``target``; those that are there lose their connections."""
        self.target = target
        self._end_child()
        self._watch()

    def close(self) -> None:
        """Free the port: when this returns, another process can bind it."""
        self._end_child()
        self._loop.cancel(self._watch)
        self._loop.forget(self._fd)
        os.close(self._fd)

    def _end_child(self) -> None:
        if self._pidfd >= 0:
            process.pidfd_send_signal(self._pidfd, process.SIGKILL)
            self._reap()
