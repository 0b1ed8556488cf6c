"""The maker: a short-lived process that starts a container for its shim.

It is for containers that a fitter cannot make (``fitting``): in a user namespace
or in another container's pid namespace, with hooks, by an external runtime. The shim forks it and
waits; the maker makes the sandbox and launches the program. Its init is cloned with
``CLONE_PARENT``, so that it is the shim's child and the shim reaps it. The maker then leaves, and
with it all the memory that starting takes.

Messages to the shim, on a channel: ``job`` (``shim_part``), before the launch, so that both work at
the same time; then ``made`` or ``failed``. These functions run in a forked process and import
nothing any more.
"""

import os
import sys

from ketch.errors import StartFailed
from ketch.linux.process import CLONE_PARENT
from ketch.runtime import external, failures, hooks, hostmounts, protocol, sandbox, shim_part
from ketch.runtime.shim_part import FAULTS

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from ketch.runtime.channel import Channel
    from ketch.runtime.stdio import Stdio

    Body = dict[str, Any]


def make_warm(warm: "Body", launcher: "_socket.socket", shim: "Channel") -> None:
    """Make a sandbox ahead, say so, and launch the START that comes; leave when none does."""
    launcher.setblocking(True)
    try:
        box = sandbox.prepare(warm, CLONE_PARENT)
    except FAULTS as error:
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
    start = message.body["start"]
    roots, fds = shim_part.roots_of(start, message.fds)
    _make(start, fds, shim, lambda start, stdio: _launch(box, roots, start, stdio))


def make_cold(start: "Body", fds: "list[int]", shim: "Channel") -> None:
    """Start without a sandbox made ahead; ``fds`` are the mounts, the control socket, clients."""
    roots, fds = shim_part.roots_of(start, fds)
    warm = {
        "id": start["id"],
        "cgroup": start["cgroup"],
        "link": start["link"],
        "namespaces": start["spec"].get("linux", {}).get("namespaces", []),
    }

    def launch(start: "Body", stdio: "Stdio") -> "tuple[Body, list[int]]":
        if start.get("runtime"):
            return external.launch(start, roots, stdio)
        return _launch(sandbox.prepare(warm, CLONE_PARENT), roots, start, stdio)

    _make(start, fds, shim, launch)


def _make(
    start: "Body",
    fds: "list[int]",
    shim: "Channel",
    launch: "Callable[[Body, Stdio], tuple[Body, list[int]]]",
) -> None:
    """Give the shim its part, start the container, report."""
    try:
        stdio = shim_part.hand_over(shim, start, fds)
        try:
            outcome, passed = launch(start, stdio)
        except FAULTS as error:
            raise shim_part.failure(error) from None
    except StartFailed as error:
        shim.send("failed", (error.message, error.exit_code))
        return
    stdio.close_theirs()
    shim.send("made", outcome, passed)


def _launch(
    box: sandbox.Sandbox, roots: "list[int]", start: "Body", stdio: "Stdio"
) -> "tuple[Body, list[int]]":
    """Launch; what the shim is to know and to have of it. Nothing is left when it fails."""
    try:
        started = box.launch(
            start, roots[0], stdio.theirs, images=roots[1:], **_hooks(start, box.pid)
        )
    except BaseException:
        box.destroy()
        raise
    outcome = {"pid": box.pid, "cgroup": box.cgroup.to_wire(), "oom_kills": box.oom_kills_before}
    master = [started.master_fd] if started.master_fd >= 0 else []
    return outcome, [box.pidfd, *master]


def _hooks(start: "Body", pid: int) -> "Body":
    """What ``launch`` is to know of the OCI hooks; nothing for nearly all containers."""
    wanted = start["spec"].get("hooks")
    if not wanted:
        return {}
    state: Body = {
        "ociVersion": start["spec"]["ociVersion"],
        "id": start["id"],
        "pid": pid,
        "bundle": start["bundle"],
        "annotations": start["spec"].get("annotations") or {},
    }

    def before_pivot() -> None:
        hostmounts.come_back()
        for kind in ("prestart", "createRuntime"):
            for hook in wanted.get(kind) or ():
                hooks.run(hook, {**state, "status": "creating"}, {})

    return {"before_pivot": before_pivot, "hook_state": {**state, "status": "created"}}


def fork(body: "Callable[[], None]") -> int:
    """Run ``body`` in a child and leave; the child's pid."""
    pid = os.fork()
    if pid:
        return pid
    status = 70  # EX_SOFTWARE
    try:
        body()
        status = 0
    except BaseException as error:
        sys.excepthook(type(error), error, error.__traceback__)
    finally:
        os._exit(status)
