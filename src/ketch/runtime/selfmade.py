"""A first process that makes its own container: the usual way of a start.

The shim clones it, with all its namespaces, and waits. What it takes to make a sandbox and to
launch the program is done in the one process that gives all its memory back when it becomes the
program; nothing is forked for it, and nobody has to be waited for.

Until then it is root of the host in other namespaces, and holds fds of the host. So nobody else
may be in its pid namespace (``namespace_plan.stands_alone``); for others there is the ``maker``.
These functions run in a forked process and import nothing any more.
"""

import os

from ketch.links import Link
from ketch.linux import links, netlink, process
from ketch.linux.descriptors import close_all, close_all_but
from ketch.runtime import child, failures, handover, hostmounts, protocol, shim_part
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.channel import channel_pair
from ketch.runtime.execution import execute_plan
from ketch.runtime.groundwork import Passed
from ketch.runtime.launch_order import order
from ketch.runtime.namespace_plan import plan_namespaces
from ketch.runtime.sandbox import Sandbox, open_joins
from ketch.runtime.shim_part import FAULTS
from ketch.runtime.staging import Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    import _socket
    from collections.abc import Callable
    from typing import Any

    from ketch.runtime.channel import Channel

    Body = dict[str, Any]


class Origin:
    """What a first process is made from: of a WARM or START, and the ``Groundwork`` for it."""

    __slots__ = ("cgroup", "link", "passed", "plan")

    def __init__(
        self, cgroup: "Body", namespaces: "list[Body]", link: "Body | None", fds: "list[int]"
    ) -> None:
        self.cgroup = Cgroup(cgroup["parent"], cgroup["name"])
        self.plan = plan_namespaces(namespaces)
        self.link = link
        self.passed = Passed(fds, self.cgroup, link)


def begin(origin: Origin, first: "Callable[[Channel], None]") -> Sandbox:
    """Clone a process that goes on in ``first``, with its new namespaces, in its cgroup of v2.

    What it takes is kept small, since the shim has to keep it. Raises OSError.
    """
    ours, theirs = channel_pair()
    try:
        found = process.clone3(origin.plan.clone_flags, origin.passed.unified)
        if not found[0]:
            child.guarded(theirs, lambda: first(theirs))
    finally:
        theirs.close()
    box = Sandbox(origin.plan, origin.cgroup, found)
    box.channel = ours
    return box


def wait(channel: "Channel", origin: Origin, launcher: "_socket.socket") -> None:
    """Be the init of a WARM: say when all is ready, and become what START says."""
    launcher.setblocking(True)
    try:
        stage = _settle(channel, origin, (launcher.fileno(),))
    except FAULTS as error:
        protocol.send(launcher, {"ready": False, **failures.to_wire(error)})
        os._exit(0)
    message = None
    try:
        protocol.send(launcher, {"ready": True})
        message = protocol.receive(launcher)
    except OSError:
        pass  # the launcher is gone
    if message is None:
        os._exit(0)
    launcher.close()
    _launch(channel, stage, message.body["start"], message.fds)


def go(channel: "Channel", origin: Origin, start: "Body", fds: "list[int]") -> None:
    """Be the init of a START, whose mounts, control socket and clients are ``fds``."""
    _launch(channel, _settle(channel, origin, fds), start, fds)


def _settle(channel: "Channel", origin: Origin, keep: "tuple[int, ...] | list[int]") -> Stage:
    """Into all namespaces and cgroups, the link plugged, the pseudo filesystems mounted."""
    process.set_name(b"ketch-init")
    child.become_private()
    setup = child.ChildSetup(origin.plan, open_joins(origin.plan))
    setup.cgroup_view = handover.view_of(origin.cgroup, origin.plan)
    setup.cgroup_tasks = origin.passed.tasks
    child.enter(setup)
    close_all([fd for fd, _ in setup.joins])
    host = (origin.passed.route,) if origin.link else ()
    close_all_but((channel.sock.fileno(), *host, *hostmounts.fds(), *keep))
    child.settle(setup)
    if origin.link:
        with netlink.Route(origin.passed.route) as route:
            links.plug_here(Link.from_wire(origin.link), route)
    return Stage(setup.cgroup_view, setup.prepare)


def _launch(channel: "Channel", stage: Stage, start: "Body", fds: "list[int]") -> None:
    """Give the shim its part and become the program; raises ``StartFailed`` or OSError."""
    roots, rest = shim_part.roots_of(start, fds)
    os.umask(0o022)
    with hostmounts.Visit():
        stdio = shim_part.hand_over(channel, start, rest)
        try:
            plan, plan_fds = order(start, roots, stdio.theirs)
        except FAULTS as error:
            raise shim_part.failure(error) from None
        handover.adjust_oom_score("self", (start["spec"].get("process") or {}).get("oomScoreAdj"))
    os.umask(0)
    process.set_dumpable(False)
    execute_plan(channel, stage, plan, plan_fds)
