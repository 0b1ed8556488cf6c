"""A rehearsal of the supervisor in the launcher itself, before it forks anything.

CPython writes into its code objects and attribute caches when code runs for the first times. Done
here, those pages stay shared between all shims; left to the shims, each would get its own copy
(about a fifth of its private memory), and the first container would start slower.
"""

import _socket
import marshal
import os

from ketch.linux.descriptors import close_all
from ketch.linux.namespaces import CLONE_NEWNS
from ketch.linux.placeholder import Guide
from ketch.linux.script import Script
from ketch.runtime import defaults, gathering, holding, maker, protocol, shim, shim_part
from ketch.runtime.channel import channel_pair
from ketch.runtime.origin import ByFitter

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
    fitter, channel = channel_pair()
    fds = (control.detach(), theirs.detach())
    pid = maker.fork(lambda: _play_the_fitter(fitter, directory, fds))
    fitter.close()
    close_all(fds)
    nowhere = {"parent": NOWHERE, "name": NOWHERE}
    order = {"cgroup": nowhere, "flags": CLONE_NEWNS}
    held = holding.hold(order, [channel.sock.detach()])
    if held is not None:
        shim.supervise(ByFitter(held))
    os.waitpid(pid, 0)
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


def _play_the_fitter(channel: "Channel", directory: str, fds: "tuple[int, int]") -> None:
    """Do for a shim what a fitter does; the program prints a line and ends."""
    (_, address), (_, door) = channel.expect("born")
    guide = Guide(door, address)
    names = guide.prepare(Script(), [], [])
    guide.await_ready(names)
    channel.send("prepared", guide.address)
    attach = {"stdin": True, "stdout": True, "stderr": True, "framed": True}
    log = {"driver": "json-file", "path": f"{directory}/log", "max_size": 0, "max_file": 1}
    start = {"id": "rehearsal", "bundle": directory, "socket": f"{directory}/socket",
             "durable": False, "terminal": False, "stdin": True, "stdin_once": True, "log": log,
             "attach": [attach], "cgroup": {"name": NOWHERE}}  # fmt: skip
    stdio = shim_part.hand_over(channel, start, fds)
    script = Script()
    script.call("write", 1, b"line\n", 5)
    script.call("exit_group", 0)
    names = guide.finish(script, stdio.theirs)
    channel.send("ready", (marshal.dumps(names), None))
