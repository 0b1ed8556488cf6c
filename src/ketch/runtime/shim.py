"""What is forked for processes: shims (warm or cold), exec supervisors, fitters.

A shim has the first process of its container (``holding``), which a fitter makes (``fitting``), or
lets a ``maker`` start it; and supervises it then. Before there is a container, fitter or maker
waits for a START, and leaves when the launcher closes its socket. These functions run in a forked
process and import nothing any more.
"""

import _socket
import os
import time

from ketch.linux import process
from ketch.linux.descriptors import close_all
from ketch.logs import drivers
from ketch.runtime import external, fitting, holding, hostmounts, maker, protocol, sandbox
from ketch.runtime.channel import channel_pair
from ketch.runtime.control import claim
from ketch.runtime.log_compressor import LogCompressor
from ketch.runtime.log_relay import LogRelay
from ketch.runtime.namespace_plan import is_fitted, stands_alone
from ketch.runtime.origin import ByFitter, ByMaker
from ketch.runtime.shim_part import FAULTS
from ketch.runtime.stdio import Stdio
from ketch.runtime.supervisor import Running, Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    from ketch.linux.eventpoll import Loop
    from ketch.runtime.channel import Channel
    from ketch.runtime.output import Log
    from ketch.runtime.protocol import Message

    Body = dict[str, Any]


SHIM, FITTER = "shim", "fitter"
"""What a process can be another time."""


def run(message: "Message") -> str:
    """Be the shim of a ``hold``, ``warm`` or ``start``, the supervisor of an ``exec``, or a fitter.

    What this process can be another time now, if anything.

    Its fds are, for ``hold`` those of ``holding.hold``, for ``warm`` and ``start`` those of
    ``fitting`` where a fitter is wanted; else for ``warm`` the maker's socket to the launcher, for
    ``start`` the root's mount, the control socket and the clients; for ``exec`` the pidfd of the
    container's init, then the same; for ``spare`` the socket on which an ``exec`` comes or nothing
    does.
    """
    body, fds = message.body, message.fds
    if body["op"] == "spare":
        return _as(SHIM, _run_spare(_socket.socket(fileno=fds[0])))
    if body["op"] == "exec":
        rename(b"ketch-exec")
        return _as(SHIM, run_exec(body["exec"], fds[0], fds[1:]))
    if body["op"] == "hold":
        held = holding.hold(body, fds)
        return _as(SHIM, held is not None and _become_shim(ByFitter(held)))
    if body["op"] == "warm":
        return _run_warm(body["warm"], fds)
    return _run_start(body["start"], fds)


def _as(role: str, may_return: bool) -> str:
    return role if may_return else ""


def _run_warm(warm: "Body", fds: "list[int]") -> str:
    if stands_alone(warm["namespaces"]):
        rename(b"ketch-fitter")
        return _as(FITTER, fitting.fit_warm(warm, fds))
    launcher = _socket.socket(fileno=fds[0])
    _run_maker(lambda shim: maker.make_warm(warm, launcher, shim), fds)
    return ""


def _run_start(start: "Body", fds: "list[int]") -> str:
    if is_fitted(start):
        rename(b"ketch-fitter")
        return _as(FITTER, fitting.fit_cold(start, fds))
    if start.get("runtime"):
        process.set_child_subreaper()  # before there is anything to inherit
    _run_maker(lambda shim: maker.make_cold(start, fds, shim), fds)
    return ""


def _run_maker(make: "Callable[[Channel], None]", makers_fds: "list[int]") -> None:
    """Fork the maker, which alone keeps ``makers_fds``, and supervise what it starts."""
    ours, theirs = channel_pair()

    def run_maker() -> None:
        ours.close()
        rename(b"ketch-maker")
        make(theirs)

    pid = maker.fork(run_maker)
    theirs.close()
    close_all(makers_fds)
    _become_shim(ByMaker(pid, ours))


def _become_shim(origin: "ByFitter | ByMaker") -> bool:
    hostmounts.come_back()
    rename(b"ketch-shim")
    return supervise(origin)


def supervise(origin: "ByFitter | ByMaker") -> bool:
    """The shim's own part, while the container is started; then the container's life.

    Whether there was one, and all of it is over.

    Rehearsed in the launcher (``rehearsal``): what runs here should be run there.
    """
    kind, part, received = origin.receive_job()
    if kind != "job":
        origin.abandon()
        return False
    job = part["job"]
    control, *fds = received
    supervisor = Supervisor(job, _socket.socket(fileno=control))
    if part["listens"]:
        supervisor.listen(_socket.socket(fileno=fds.pop(0)))
    pipes, clients = fds[: part["pipes"]], fds[part["pipes"] :]
    log, fault = _try_log(job["log"], supervisor.loop)
    try:
        remains, master = origin.await_program(job)
    except FAULTS as error:
        supervisor.fail_with(error, origin.abandon)
        return False
    if fault:
        supervisor.fail(fault, 128, remains.destroy)
        return False
    running = Running(
        pid=remains.pid,
        pidfd=os.dup(remains.pidfd),
        master=master,
        cgroup=remains.cgroup.describe(),
        oom_killed=remains.oom_killed,
        destroy=remains.destroy,
        helper=origin.helper,
    )
    supervisor.run(running, Stdio.received(pipes), log, clients)
    return True


def _run_spare(launcher: "_socket.socket") -> bool:
    """Wait for a process to supervise; the end of the socket says that none will come."""
    rename(b"ketch-exec")
    launcher.setblocking(True)
    message = protocol.receive(launcher)
    launcher.close()
    if message is None:
        return False
    return run_exec(message.body["exec"], message.fds[0], message.fds[1:])


def run_exec(job: "Body", pidfd: int, fds: "list[int]") -> bool:
    """Run a further process in the container of ``pidfd``, and supervise it.

    Whether there was one, and an external runtime had no part in it.

    Rehearsed in the launcher, as ``supervise`` is.
    """
    supervisor = Supervisor(job, _socket.socket(fileno=fds[0]))
    try:
        supervisor.listen(claim(job["socket"]))
        stdio = Stdio.of(job)
        started = _join(job, pidfd, stdio)
    except FAULTS as error:
        supervisor.fail_with(error)
        return False
    os.close(pidfd)
    stdio.close_theirs()
    running = Running(pid=started.pid, pidfd=started.pidfd, master=started.master_fd)
    supervisor.run(running, stdio, None, fds[1:])
    return not job.get("runtime")


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
