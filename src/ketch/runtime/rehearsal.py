"""A rehearsal of the supervisor in the launcher itself, before it forks anything.

CPython writes into its code objects and attribute caches when code runs for the first times. Done
here, those pages stay shared between all shims; left to the shims, each would get its own copy
(about a fifth of its private memory), and the first container would start slower.
"""

import _socket
import os

from ketch.linux.descriptors import close_all
from ketch.runtime import defaults, gathering, protocol, selfmade, shim, shim_part
from ketch.runtime.cgroups.hierarchy import detect
from ketch.runtime.origin import ByItself

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.channel import Channel

ROUNDS = 8  # CPython specializes code after as many runs
NOWHERE = "ketch-rehearsal"  # a cgroup that is never made


def rehearse(directory: str) -> None:
    """Supervise children that print a line, in ``directory``, which is removed.

    It is there already when a launcher was killed in its rehearsal.
    """
    os.makedirs(directory, 0o700, exist_ok=True)
    try:
        for one_round in (_one_round, _one_exec):
            one_round(directory)
            gathering.gather(gathering.run_by(lambda: one_round(directory)))  # noqa: B023
            for _ in range(ROUNDS):
                one_round(directory)
    finally:
        for name in os.listdir(directory):
            os.unlink(f"{directory}/{name}")
        os.rmdir(directory)


def _one_round(directory: str) -> None:
    daemon, control = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    client, theirs = _socket.socketpair()
    protocol.send(daemon, {"op": "state", "seq": 1})
    protocol.send(daemon, {"op": "reap", "seq": 2})
    nowhere = {"parent": NOWHERE, "name": NOWHERE}
    unified = [-1 for hierarchy in detect() if hierarchy.version == 2]
    origin = selfmade.Origin(nowhere, [{"type": "mount"}], None, unified)
    fds = (control.detach(), theirs.detach())
    box = selfmade.begin(origin, lambda channel: _play_the_init(channel, directory, fds))
    close_all(fds)
    shim.supervise(ByItself(box))
    daemon.close()
    client.close()


def _one_exec(directory: str) -> None:
    """The supervisor of an exec process, which is told to join the namespaces that it is in."""
    daemon, control = _socket.socketpair(_socket.AF_UNIX, _socket.SOCK_SEQPACKET)
    client, theirs = _socket.socketpair()
    protocol.send(daemon, {"op": "reap", "seq": 1})
    process = {**defaults.default_spec()["process"], "args": ["true"]}
    attach = {"stdin": False, "stdout": True, "stderr": True, "framed": True}
    job = {"id": "rehearsal", "init_pid": os.getpid(), "socket": f"{directory}/socket",
           "terminal": False, "stdin": False, "attach": [attach], "process": process,
           "user": ""}  # fmt: skip
    shim.run_exec(job, os.pidfd_open(os.getpid()), [control.detach(), theirs.detach()])
    daemon.close()
    client.close()


def _play_the_init(channel: "Channel", directory: str, fds: "tuple[int, int]") -> None:
    """Send what a container's first process sends to its shim, print a line, and end."""
    attach = {"stdin": True, "stdout": True, "stderr": True, "framed": True}
    log = {"driver": "json-file", "path": f"{directory}/log", "max_size": 0, "max_file": 1}
    start = {"id": "rehearsal", "bundle": directory, "socket": f"{directory}/socket",
             "durable": False, "terminal": False, "stdin": True, "stdin_once": True, "log": log,
             "attach": [attach], "cgroup": {"name": NOWHERE}}  # fmt: skip
    stdio = shim_part.hand_over(channel, start, fds)
    channel.send("ready")
    os.write(stdio.theirs[1], b"line\n")
    os._exit(0)
