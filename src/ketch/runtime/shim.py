"""What is forked for processes: shims (warm or cold) and exec supervisors.

A shim lets a *maker* (``ketch.runtime.maker``) start its container, and supervises it then. A warm
shim waits for its maker, which waits for a START; both leave when the launcher closes the maker's
socket. These functions run in a forked process and import nothing any more.
"""

import _socket
import os
import time

from ketch.linux import process
from ketch.linux.descriptors import close_all
from ketch.logs import drivers
from ketch.runtime import external, hostmounts, maker, protocol, sandbox
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.control import claim
from ketch.runtime.external_program import Program
from ketch.runtime.log_compressor import LogCompressor
from ketch.runtime.log_relay import LogRelay
from ketch.runtime.maker import FAULTS
from ketch.runtime.stdio import Stdio
from ketch.runtime.supervisor import Running, Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.linux.eventpoll import Loop
    from ketch.runtime.output import Log
    from ketch.runtime.protocol import Message

    Body = dict[str, Any]


def run(message: "Message") -> None:
    """The shim of a ``warm`` or ``start`` request, or the supervisor of an ``exec``.

    Its fds are, for ``warm``, the maker's socket to the launcher; for ``start`` the root's mount,
    the control socket and the clients; for ``exec`` the pidfd of the container's init, then the
    same; for ``spare`` the socket on which an ``exec`` comes or nothing does.
    """
    body, fds = message.body, message.fds
    if body["op"] == "spare":
        _run_spare(_socket.socket(fileno=fds[0]))
    elif body["op"] == "exec":
        run_exec(body["exec"], fds[0], fds[1:])
    elif body["op"] == "warm":
        launcher = _socket.socket(fileno=fds[0])
        _run_shim(lambda shim: maker.make_warm(body["warm"], launcher, shim), fds)
    else:
        if body["start"].get("runtime"):
            process.set_child_subreaper()  # before there is anything to inherit
        _run_shim(lambda shim: maker.make_cold(body["start"], fds, shim), fds)


def _run_shim(make: "Callable[[_socket.socket], None]", makers_fds: "list[int]") -> None:
    """Fork the maker, which alone keeps ``makers_fds``, and supervise what it starts."""
    ours, theirs = _socket.socketpair(
        _socket.AF_UNIX, _socket.SOCK_SEQPACKET | _socket.SOCK_CLOEXEC
    )

    def run_maker() -> None:
        os.close(ours.fileno())
        rename(b"ketch-maker")
        make(theirs)

    pid = maker.fork(run_maker)
    theirs.close()
    close_all(makers_fds)
    hostmounts.come_back()
    rename(b"ketch-shim")
    first = protocol.receive(ours)
    if first is not None:
        supervise(first, ours, pid)
    else:
        _reap(pid)


def supervise(first: "Message", made: "_socket.socket", maker_pid: int) -> None:
    """The shim's own part, while the maker starts the container; then the container's life.

    Rehearsed in the launcher (``rehearsal``): what runs here should be run there.
    """
    job = first.body["job"]
    control, *fds = first.fds
    supervisor = Supervisor(job, _socket.socket(fileno=control))
    if first.body["listens"]:
        supervisor.listen(_socket.socket(fileno=fds.pop(0)))
    pipes, clients = fds[: first.body["pipes"]], fds[first.body["pipes"] :]
    log, fault = _try_log(job["log"], supervisor.loop)
    outcome = protocol.receive(made)
    made.close()
    if outcome is None or "failed" in outcome.body:
        died: Body = {"failed": "the process that was to start it died", "code": 128}
        body = outcome.body if outcome is not None else died
        supervisor.fail(body["failed"], body["code"], lambda: _reap(maker_pid))
        return
    remains = Remains(outcome, job)
    if fault:
        supervisor.fail(fault, 128, remains.destroy)
        return
    running = Running(
        pid=remains.pid,
        pidfd=os.dup(remains.pidfd),
        master=outcome.fds[1] if len(outcome.fds) > 1 else -1,
        cgroup=remains.cgroup.describe(),
        oom_killed=remains.oom_killed,
        destroy=remains.destroy,
        helper=maker_pid,
    )
    supervisor.run(running, Stdio.received(pipes), log, clients)


class Remains:
    """What the shim holds of a sandbox that its maker made: the process and its cgroup."""

    __slots__ = ("_id", "_oom_kills", "_runtime", "cgroup", "pid", "pidfd")

    def __init__(self, outcome: "Message", job: "Body") -> None:
        self._id = str(job["id"])
        self._runtime: Body | None = job.get("runtime")
        self.pid = int(outcome.body["pid"])
        self.pidfd = outcome.fds[0]
        self.cgroup = Cgroup.from_wire(outcome.body["cgroup"])
        self._oom_kills = int(outcome.body["oom_kills"])

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


def _run_spare(launcher: "_socket.socket") -> None:
    """Wait for a process to supervise; the end of the socket says that none will come."""
    rename(b"ketch-exec")
    launcher.setblocking(True)
    message = protocol.receive(launcher)
    launcher.close()
    if message is not None:
        run_exec(message.body["exec"], message.fds[0], message.fds[1:])


def run_exec(job: "Body", pidfd: int, fds: "list[int]") -> None:
    """Run a further process in the container of ``pidfd``, and supervise it."""
    rename(b"ketch-exec")
    supervisor = Supervisor(job, _socket.socket(fileno=fds[0]))
    try:
        supervisor.listen(claim(job["socket"]))
        stdio = Stdio.of(job)
        started = _join(job, pidfd, stdio)
    except FAULTS as error:
        supervisor.fail_with(error)
        return
    os.close(pidfd)
    stdio.close_theirs()
    running = Running(pid=started.pid, pidfd=started.pidfd, master=started.master_fd)
    supervisor.run(running, stdio, None, fds[1:])


def _join(job: "Body", pidfd: int, stdio: Stdio) -> sandbox.Started:
    if not job.get("runtime"):
        return sandbox.join(job, pidfd, stdio.theirs)
    process.set_child_subreaper()
    return sandbox.Started(*external.join(job, stdio))


def _try_log(log: "Body", loop: "Loop") -> "tuple[Log | None, str]":
    """(the log or None, what is wrong)."""
    if log["driver"] == "none":
        return None, ""
    try:
        if drivers.is_detached(log):
            return LogRelay(loop, log, time.time_ns), ""
        file = drivers.open_file(log)
    except (OSError, ValueError) as error:
        return None, f"failed to initialize logging driver: {error}"
    if log.get("compress"):
        file.file.compressor = LogCompressor(loop)
    return file, ""


def rename(name: bytes) -> None:
    """What ps(1) shows."""
    process.set_name(name)


def _reap(pid: int) -> None:
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass
