"""The shim's part of a START: pipes, the socket where daemons find it, room for the exit.

Whoever makes a container does this as well, and hands it over on the channel to its shim: so what
it takes in memory is not the shim's. The message is ``job``: what the shim has to know, with the
control socket, the listener, our ends of the pipes, and the clients as fds.
"""

from ketch.errors import KetchError, StartFailed
from ketch.linux.descriptors import close_all
from ketch.runtime import exit_file, failures
from ketch.runtime.control import AlreadyRunning, claim
from ketch.runtime.stdio import Stdio

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ketch.runtime.channel import Channel

    Body = dict[str, Any]

FAULTS = (KetchError, OSError, AlreadyRunning, LookupError, ValueError, TypeError)
_FOR_THE_SHIM = (
    "id", "bundle", "durable", "terminal", "stdin", "stdin_once", "log", "attach", "socket"
)  # fmt: skip


def hand_over(channel: "Channel", start: "Body", fds: "Sequence[int]") -> Stdio:
    """Make the part and give it away; the process's ends of its streams.

    ``fds`` are the control socket and the clients. Raises ``StartFailed``; the shim then has what
    it needs to tell.
    """
    try:
        stdio = Stdio.of(start)
        listener = claim(start["socket"])
        exit_file.prepare(start["bundle"])
    except FAULTS as error:
        channel.send("job", {"job": _part(start, []), "pipes": 0, "listens": False}, fds[:1])
        raise failure(error) from None
    pipes = [fd for fd in (stdio.out, stdio.err, stdio.into) if fd >= 0]
    body = {"job": _part(start, start["attach"]), "pipes": len(pipes), "listens": True}
    channel.send("job", body, [fds[0], listener.fileno(), *pipes, *fds[1:]])
    close_all([*fds, listener.fileno(), *pipes])
    return stdio


def roots_of(start: "Body", fds: "Sequence[int]") -> "tuple[list[int], list[int]]":
    """The mounts that the launcher made (the root, then images), and the other fds of a START."""
    count = 1 + len(start.get("images", ()))
    return list(fds[:count]), list(fds[count:])


def _part(start: "Body", attach: "list[Body]") -> "Body":
    part = {**{key: start[key] for key in _FOR_THE_SHIM}, "attach": attach}
    part["cgroup"] = start["cgroup"]["name"]
    if start.get("runtime"):
        part["runtime"] = start["runtime"]
    return part


def failure(error: BaseException) -> StartFailed:
    """One of ``FAULTS`` as the failure of a start."""
    return StartFailed(failures.to_wire(error)["error"], getattr(error, "exit_code", 128))
