"""A rehearsal of the supervisor in the launcher itself, before it forks anything.

CPython writes into its code objects and attribute caches when code runs for the first times. Done
here, those pages stay shared between all shims; left to the shims, each would get its own copy
(about a fifth of its private memory), and the first container would start slower.
"""

import _socket
import os

from ketch.linux.descriptors import close_all
from ketch.runtime import gathering, protocol, shim
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.control import claim
from ketch.runtime.stdio import Stdio

ROUNDS = 8  # CPython specializes code after as many runs
NOWHERE = "ketch-rehearsal"  # a cgroup that is never made


def rehearse(directory: str) -> None:
    """Supervise children that print a line, in an empty ``directory``, which is removed."""
    os.mkdir(directory, 0o700)
    try:
        _one_round(directory)
        gathering.gather(gathering.run_by(lambda: _one_round(directory)))
        for _ in range(ROUNDS):
            _one_round(directory)
    finally:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def _one_round(directory: str) -> None:
    daemon, control = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    client, theirs = _socket.socketpair()
    protocol.send(daemon, {"op": "state", "seq": 1})
    protocol.send(daemon, {"op": "reap", "seq": 2})
    makers, shims = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    _play_the_maker(makers, directory, (control.detach(), theirs.detach()))
    first = protocol.receive(shims)
    assert first is not None
    shim.supervise(first, shims, _child(b""))
    daemon.close()
    client.close()


def _play_the_maker(shims: "_socket.socket", directory: str, clients: "tuple[int, int]") -> None:
    """Send what the maker of a container sends to its shim."""
    control, client = clients
    attach = {"stdin": True, "stdout": True, "stderr": True, "framed": True}
    log = {"driver": "json-file", "path": f"{directory}/log", "max_size": 0, "max_file": 1}
    job = {"id": "rehearsal", "bundle": directory, "socket": f"{directory}/socket",
           "durable": False, "terminal": False, "stdin": True, "stdin_once": True, "log": log,
           "attach": [attach]}  # fmt: skip
    stdio = Stdio.of(job)
    listener = claim(f"{directory}/socket")
    fds = [control, listener.fileno(), stdio.out, stdio.err, stdio.into, client]
    protocol.send(shims, {"job": job, "pipes": 3, "listens": True}, fds)
    close_all([*fds[2:], control])
    listener.close()
    pid = _child(b"line\n", stdio.theirs[1])
    stdio.close_theirs()
    pidfd = os.pidfd_open(pid)
    cgroup = Cgroup(NOWHERE, NOWHERE).to_wire()
    protocol.send(shims, {"pid": pid, "cgroup": cgroup, "oom_kills": 0}, [pidfd])
    os.close(pidfd)
    shims.close()


def _child(text: bytes, fd: int = -1) -> int:
    """A child that writes a text and ends; its pid."""
    pid = os.fork()
    if pid:
        return pid
    try:
        if text:
            os.write(fd, text)
    finally:
        os._exit(0)
