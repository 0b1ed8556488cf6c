"""The first process of a container that a fitter makes, held by its parent, the shim.

It is a placeholder, in the namespaces that it was born with. A fitter tells it what to do
(``fitting``). It holds nothing of the host but its door, and dies with the shim.
"""

import _socket
import marshal
import os
import select

from ketch.errors import StartFailed
from ketch.linux import process
from ketch.linux.descriptors import close_all
from ketch.linux.placeholder import Placeholder
from ketch.linux.script import Refused
from ketch.runtime import handover, program
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.channel import Channel, unexpected

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    Body = dict[str, Any]


class Held:
    """A placeholder, its cgroup, and the channel to the fitter."""

    __slots__ = ("_channel", "cgroup", "first")

    def __init__(self, first: Placeholder, cgroup: Cgroup, channel: Channel) -> None:
        self.first = first
        self.cgroup = cgroup
        self._channel = channel

    def receive_job(self) -> "tuple[str, Any, list[int]]":
        """The fitter's START for us (``shim_part``); kind ``""`` when there will be none."""
        kind, body, fds = self._channel.receive()
        if kind == "lost":
            self._tell_why(body)
            return "", None, []
        if kind == "prepared":
            self.first.address = body
            return self._receive()
        return kind, body, fds

    def _receive(self) -> "tuple[str, Any, list[int]]":
        """What the fitter says; kind ``""`` when it or the placeholder is dead."""
        channel = self._channel.sock.fileno()
        poll = select.poll()
        poll.register(channel, select.POLLIN)
        poll.register(self.first.pidfd, select.POLLIN)
        ready = [fd for fd, _ in poll.poll()]
        if channel not in ready and not self.first.has_begun():
            return "", None, []  # else it is the program that has ended already
        return self._channel.receive()

    def _tell_why(self, names: bytes) -> None:
        """Answer a fitter who has lost the placeholder."""
        failure = StartFailed("the first process died before it could start", 128)
        try:
            self.first.check(marshal.loads(names))
        except Refused as error:
            failure = program.failure(error)
        self._channel.send("failed", (failure.message, failure.exit_code))

    def await_program(self) -> int:
        """Wait until the placeholder has become the program: its terminal or -1.

        Raises ``StartFailed``.
        """
        kind, body, fds = self._receive()
        if kind != "ready":
            raise unexpected(kind, body)
        names, score = body
        self.first.await_end()
        try:
            self.first.check(marshal.loads(names))
        except Refused as error:
            close_all(fds)
            raise program.failure(error) from None
        self._channel.close()
        self.first.forget()
        if score is not None:
            handover.set_oom_score("self", score)
        return fds[0] if fds else -1

    def destroy(self) -> None:
        """There is no program: take away what there is."""
        process.kill_and_reap(self.first.pid, self.first.pidfd)
        self._channel.close()
        self.first.forget()
        os.close(self.first.pidfd)
        self.cgroup.destroy()


def hold(order: "Body", fds: "list[int]") -> "Held | None":
    """Make the placeholder of a HOLD and present it to the fitter, who is told of failures too.

    ``fds`` are the channel, and the cgroup's v2 directory if there is one.
    """
    channel = Channel(_socket.socket(fileno=fds[0]))
    cgroup = Cgroup(order["cgroup"]["parent"], order["cgroup"]["name"])
    process.set_dumpable(False)
    try:
        first = Placeholder(order["flags"], fds[1] if len(fds) > 1 else -1)
    except OSError as error:
        channel.send("failed", (f"cannot make the first process: {error.strerror}", 128))
        cgroup.destroy()
        return None
    channel.send("born", (first.pid, first.address), [first.pidfd, first.door.fileno()])
    close_all(fds[1:])
    return Held(first, cgroup, channel)
