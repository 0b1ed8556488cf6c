"""What is forked for processes: shims (warm or cold) and exec supervisors.

A shim clones the first process of its container, which makes the container by itself
(``selfmade``), or lets a ``maker`` start it; and supervises it then. Before there is a container,
that child waits for a START, and leaves when the launcher closes its socket. These functions run
in a forked process and import nothing any more.
"""

import _socket
import os
import time

from ketch.linux import process
from ketch.linux.descriptors import close_all
from ketch.logs import drivers
from ketch.runtime import external, failures, hostmounts, maker, protocol, sandbox, selfmade
from ketch.runtime.channel import channel_pair
from ketch.runtime.control import claim
from ketch.runtime.log_compressor import LogCompressor
from ketch.runtime.log_relay import LogRelay
from ketch.runtime.namespace_plan import is_selfmade, stands_alone
from ketch.runtime.origin import ByItself, ByMaker
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


def run(message: "Message") -> bool:
    """The shim of a ``warm`` or ``start`` request, or the supervisor of an ``exec``.

    Whether this process can be the shim of another one now.

    Its fds are, for ``warm``, the maker's socket to the launcher; for ``start`` the root's mount,
    the control socket and the clients; for ``exec`` the pidfd of the container's init, then the
    same; for ``spare`` the socket on which an ``exec`` comes or nothing does.
    """
    body, fds = message.body, message.fds
    if body["op"] == "spare":
        return _run_spare(_socket.socket(fileno=fds[0]))
    if body["op"] == "exec":
        rename(b"ketch-exec")
        return run_exec(body["exec"], fds[0], fds[1:])
    if body["op"] == "warm":
        return _run_warm(body["warm"], fds)
    return _run_cold(body["start"], fds)


def _run_warm(warm: "Body", fds: "list[int]") -> bool:
    launcher = _socket.socket(fileno=fds[0])
    namespaces = warm["namespaces"]
    if not stands_alone(namespaces):
        _run_maker(lambda shim: maker.make_warm(warm, launcher, shim), fds)
        return False
    origin = selfmade.Origin(warm["cgroup"], namespaces, warm.get("link"), fds[1:])
    try:
        box = selfmade.begin(origin, lambda channel: selfmade.wait(channel, origin, launcher))
    except OSError as error:
        origin.cgroup.destroy()
        protocol.send(launcher, {"ready": False, **failures.to_wire(error)})
        return False
    launcher.close()
    close_all(fds[1:])
    return _become_shim(ByItself(box))


def _run_cold(start: "Body", fds: "list[int]") -> bool:
    if start.get("runtime"):
        process.set_child_subreaper()  # before there is anything to inherit
    if not is_selfmade(start):
        _run_maker(lambda shim: maker.make_cold(start, fds, shim), fds)
        return False
    count = 2 + len(start.get("images", ())) + len(start["attach"])
    namespaces = start["spec"]["linux"]["namespaces"]
    origin = selfmade.Origin(start["cgroup"], namespaces, start["link"], fds[count:])
    own = fds[:count]
    try:
        box = selfmade.begin(origin, lambda channel: selfmade.go(channel, origin, start, own))
    except OSError as error:
        control = _socket.socket(fileno=fds[1 + len(start.get("images", ()))])
        Supervisor(start, control).fail_with(error, origin.cgroup.destroy)
        return False
    close_all(fds)
    return _become_shim(ByItself(box))


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


def _become_shim(origin: "ByItself | ByMaker") -> bool:
    hostmounts.come_back()
    rename(b"ketch-shim")
    return supervise(origin)


def supervise(origin: "ByItself | ByMaker") -> bool:
    """The shim's own part, while the container is started; then the container's life.

    Whether there was one, and all of it is over.

    Rehearsed in the launcher (``rehearsal``): what runs here should be run there.
    """
    kind, part, received = origin.channel.receive()
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
