"""A rehearsal of the supervisor in the launcher itself, before it forks anything.

CPython writes into its code objects and attribute caches when code runs for the first times. Done
here, those pages stay shared between all shims; left to the shims, each would get its own copy
(about a fifth of its private memory), and the first container would start slower.
"""

import _socket
import os

from ketch.logs.jsonfile import JsonFileLog
from ketch.runtime import exit_file, protocol
from ketch.runtime.control import claim
from ketch.runtime.stdio import Stdio
from ketch.runtime.supervisor import Running, Supervisor

ROUNDS = 8  # CPython specializes code after as many runs


def rehearse(directory: str) -> None:
    """Supervise children that print a line, in an empty ``directory``, which is removed."""
    os.mkdir(directory, 0o700)
    try:
        for _ in range(ROUNDS):
            _one_round(directory)
    finally:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def _one_round(directory: str) -> None:
    daemon, control = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    client, theirs = _socket.socketpair()
    attach = {"stdin": True, "stdout": True, "stderr": True, "framed": True}
    log = {"driver": "json-file", "path": f"{directory}/log", "max_size": 0, "max_file": 1}
    job = {"id": "rehearsal", "bundle": directory, "socket": f"{directory}/socket",
           "terminal": False, "stdin": True, "log": log, "attach": [attach]}  # fmt: skip
    supervisor = Supervisor(job, control)
    supervisor.listen(claim(f"{directory}/socket"))
    exit_file.remove(directory)
    stdio = Stdio.of(job)
    protocol.send(daemon, {"op": "state", "seq": 1})
    protocol.send(daemon, {"op": "reap", "seq": 2})
    pid = _print_a_line(stdio.theirs[1])
    stdio.close_theirs()
    running = Running(pid=pid, pidfd=os.pidfd_open(pid))
    supervisor.run(running, stdio, JsonFileLog(str(log["path"])), [theirs.detach()])
    daemon.close()
    client.close()


def _print_a_line(fd: int) -> int:
    pid = os.fork()
    if pid:
        return pid
    try:
        os.write(fd, b"line\n")
    finally:
        os._exit(0)
