"""How a shim's container comes to be, and what the shim then holds of it: ``Remains``."""

import os

from ketch.linux import process
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.external_program import Program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.channel import Channel
    from ketch.runtime.holding import Held

    Body = dict[str, Any]


class Remains:
    """The first process and its cgroup; ``runtime`` is the external one, if any."""

    __slots__ = ("_id", "_oom_kills", "_runtime", "cgroup", "pid", "pidfd")

    def __init__(
        self, job: "Body", child: "tuple[int, int]", cgroup: Cgroup, oom_kills: int
    ) -> None:
        self._id = str(job["id"])
        self._runtime: Body | None = job.get("runtime")
        self.pid, self.pidfd = child
        self.cgroup = cgroup
        self._oom_kills = oom_kills

    def oom_killed(self) -> bool:
        """Whether the kernel killed something inside for want of memory; ask before ``destroy``."""
        try:
            return self.cgroup.oom_kills() > self._oom_kills
        except OSError:
            return False

    def destroy(self) -> None:
        """Kill what is left, reap, remove the cgroup."""
        process.kill_and_reap(self.pid, self.pidfd)
        os.close(self.pidfd)
        if self._runtime:
            Program(self._runtime).delete(self._id)
        self.cgroup.destroy()


class ByFitter:
    """A fitter makes the container (``fitting``), whose first process is there (``holding``)."""

    __slots__ = ("_held",)

    helper = 0

    def __init__(self, held: "Held") -> None:
        self._held = held

    def receive_job(self) -> "tuple[str, Any, list[int]]":
        """The first message of who makes the container; kind ``""`` when there will be none."""
        return self._held.receive_job()

    def await_program(self, job: "Body") -> "tuple[Remains, int]":
        """What remains, and the terminal or -1; raises ``StartFailed``."""
        cgroup, first = self._held.cgroup, self._held.first
        cgroup.renamed(job["cgroup"])
        try:
            oom_kills = cgroup.oom_kills()
        except OSError:
            oom_kills = 0
        master = self._held.await_program()
        return Remains(job, (first.pid, first.pidfd), cgroup, oom_kills), master

    def abandon(self) -> None:
        """There is no program: take away what there is."""
        self._held.destroy()


class ByMaker:
    """A maker does: the child ``helper``."""

    __slots__ = ("_channel", "helper")

    def __init__(self, helper: int, channel: "Channel") -> None:
        self.helper = helper
        self._channel = channel

    def receive_job(self) -> "tuple[str, Any, list[int]]":
        """As with ``ByFitter``."""
        return self._channel.receive()

    def await_program(self, job: "Body") -> "tuple[Remains, int]":
        """As with ``ByFitter``."""
        made, fds = self._channel.expect("made")
        self._channel.close()
        child = (int(made["pid"]), fds[0])
        cgroup = Cgroup.from_wire(made["cgroup"])
        master = fds[1] if len(fds) > 1 else -1
        return Remains(job, child, cgroup, int(made["oom_kills"])), master

    def abandon(self) -> None:
        """The maker has taken away what there was."""
        try:
            os.waitpid(self.helper, 0)
        except ChildProcessError:
            pass
