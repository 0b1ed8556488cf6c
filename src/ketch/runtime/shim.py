"""What the launcher forks: warm members, shims, and exec supervisors.

A *member* is a shim in waiting: it has a parked sandbox and blocks on its socket to the launcher
until a START comes. It leaves, with its sandbox, when that socket is closed. These functions run in
a forked process and import nothing any more.
"""

import _socket
import os

from ketch.errors import KetchError
from ketch.logs.jsonfile import JsonFileLog
from ketch.runtime import exit_file, failures, protocol, sandbox
from ketch.runtime.control import AlreadyRunning
from ketch.runtime.stdio import Stdio
from ketch.runtime.supervisor import Running, Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

    Body = dict[str, Any]

_FAULTS = (KetchError, OSError, AlreadyRunning, LookupError, ValueError, TypeError)


def run_member(warm: "Body", launcher: "_socket.socket") -> None:
    """Make a sandbox ahead, say so, and become the shim of the START that comes."""
    launcher.setblocking(True)
    try:
        box = sandbox.prepare(warm)
    except _FAULTS as error:
        protocol.send(launcher, {"ready": False, **failures.to_wire(error)})
        return
    message = None
    try:
        protocol.send(launcher, {"ready": True})
        message = protocol.receive(launcher)
    except OSError:
        pass  # the launcher is gone
    if message is None:
        box.destroy()
        return
    launcher.close()
    root_fd, control, *clients = message.fds
    run_shim(message.body["start"], lambda: box, root_fd, [control, *clients])


def run_cold(start: "Body", root_fd: int, fds: "list[int]") -> None:
    """Start without a warm member; ``fds`` are the control socket and the clients."""
    warm = {
        "id": start["id"],
        "cgroup": start["cgroup"],
        "link": start["link"],
        "namespaces": start["spec"].get("linux", {}).get("namespaces", []),
    }
    run_shim(start, lambda: sandbox.prepare(warm), root_fd, fds)


def run_shim(
    start: "Body", prepare: "Callable[[], sandbox.Sandbox]", root_fd: int, fds: "list[int]"
) -> None:
    """Start a container and supervise it to its end."""
    _rename(b"ketch-shim")
    supervisor = Supervisor(start, _socket.socket(fileno=fds[0]))
    box: sandbox.Sandbox | None = None
    try:
        supervisor.listen()
        exit_file.remove(start["bundle"])
        log = _open_log(start["log"])
        stdio = Stdio.of(start)
        box = prepare()
        started = box.launch(start, root_fd, stdio.theirs)
    except _FAULTS as error:
        supervisor.fail(error, box.destroy if box is not None else bool)
        return
    os.close(root_fd)
    running = Running(
        pid=box.pid,
        pidfd=os.dup(box.pidfd),
        master=started.master_fd,
        cgroup=box.cgroup.describe(),
        oom_killed=box.oom_killed,
        destroy=box.destroy,
    )
    supervisor.run(running, stdio, log, fds[1:])


def run_exec(job: "Body", pidfd: int, fds: "list[int]") -> None:
    """Run a further process in the container of ``pidfd``, and supervise it."""
    _rename(b"ketch-exec")
    supervisor = Supervisor(job, _socket.socket(fileno=fds[0]))
    try:
        supervisor.listen()
        stdio = Stdio.of(job)
        started = sandbox.join(job, pidfd, stdio.theirs)
    except _FAULTS as error:
        supervisor.fail(error)
        return
    os.close(pidfd)
    running = Running(pid=started.pid, pidfd=started.pidfd, master=started.master_fd)
    supervisor.run(running, stdio, None, fds[1:])


def _open_log(log: "Body") -> "JsonFileLog | None":
    if log["driver"] == "none":
        return None
    if log["driver"] != "json-file":
        raise ValueError(f"log driver {log['driver']!r} is not supported; json-file and none are")
    return JsonFileLog(log["path"], log["max_size"], log["max_file"], log.get("attrs"))


def _rename(name: bytes) -> None:
    """What ps(1) shows."""
    with open("/proc/self/comm", "wb", buffering=0) as file:
        file.write(name)
