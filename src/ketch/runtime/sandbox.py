"""Sandboxes: the seam between whoever starts containers and the kernel.

Life cycle: ``prepare`` makes a parked sandbox (namespaces, cgroup, network link, pseudo
filesystems); ``Sandbox.launch`` turns it into a container; the caller, who is the parent, reaps
``Sandbox.pid`` and calls ``destroy``. ``join`` adds a process to a running container.
``mount_rootfs`` makes the root. All calls block; the caller has one thread.
"""

import os

from ketch.links import Link
from ketch.linux import links, namespaces, placeholder, process
from ketch.linux.descriptors import close_all
from ketch.linux.namespaces import CLONE_NEWPID, CLONE_NEWUSER
from ketch.runtime import defaults, entering, handover, hostmounts, privileges
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.cgroups.hierarchy import detect
from ketch.runtime.channel import Channel, channel_pair
from ketch.runtime.child import ChildSetup, run_init
from ketch.runtime.groundwork import take_place
from ketch.runtime.inside import open_joins, open_namespace
from ketch.runtime.launch_order import order
from ketch.runtime.namespace_plan import NamespacePlan, plan_namespaces
from ketch.runtime.plan import plan_launch
from ketch.runtime.rootfs import LayerMounts, mount_rootfs

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    Wire = dict[str, Any]

__all__ = ["LayerMounts", "Sandbox", "Started", "join", "mount_rootfs", "prepare", "warm_up"]


_ROUNDS = 8  # CPython specializes code after as many runs; done here, the pages stay shared


def warm_up() -> None:
    """Work out in the launcher what no start needs to find out again: hierarchies, default plan."""
    detect()
    privileges.held_capabilities()
    handover.existing_namespaces()
    placeholder.make_room()
    for _ in range(_ROUNDS):
        plan_launch(defaults.default_spec())


class Started:
    """A process that runs its program: ``master_fd`` is its terminal or -1."""

    __slots__ = ("master_fd", "pid", "pidfd")

    def __init__(self, pid: int, pidfd: int, master_fd: int) -> None:
        self.pid = pid
        self.pidfd = pidfd
        self.master_fd = master_fd


class Sandbox:
    """A parked init in namespaces of its own; see the module's docstring."""

    def __init__(self, plan: NamespacePlan, cgroup: Cgroup, child: "tuple[int, int]") -> None:
        self.pid, self.pidfd = child
        self.cgroup = cgroup
        self.channel: Channel | None = None
        self._plan = plan
        self.oom_kills_before = 0

    def launch(
        self,
        start: "Wire",
        root_fd: int,
        stdio: "Sequence[int]",
        *,
        images: "Sequence[int]" = (),
        gate: "Sequence[int]" = (),
        before_pivot: "Callable[[], None] | None" = None,
        hook_state: "Wire | None" = None,
    ) -> Started:
        """Turn the parked init into the container's program; returns when execve succeeded.

        ``start`` is START of the launcher protocol; ``images`` are the mounts of its images. With
        ``gate`` (two FIFOs) it returns when the program is about to be executed; ``before_pivot``
        is called while the child is parked.
        Raises ``StartFailed``, ``InvalidParameter``, ``Unsupported``, OSError.
        """
        spec = start["spec"]
        linux = spec.get("linux") or {}
        take_place(self.cgroup, start["cgroup"]["name"], linux.get("resources") or {})
        self.oom_kills_before = self.cgroup.oom_kills()
        if before_pivot is not None:
            before_pivot()
        hostmounts.come_back()
        roots = (root_fd, *images)
        wire, fds = order(start, roots, stdio, gate, has_user=self._plan.has_user)
        if hook_state is not None:
            wire["process"]["hook_state"] = hook_state
            wire["process"]["start_hooks"] = list(
                (spec.get("hooks") or {}).get("startContainer") or ()
            )
        handover.adjust_oom_score(self.pid, (spec.get("process") or {}).get("oomScoreAdj"))
        assert self.channel is not None
        self.channel.send("launch", wire, fds)
        close_all(fds[1 + max(3, len(stdio)) + len(gate) :])  # what was opened for it
        return Started(self.pid, self.pidfd, self.await_program())

    def await_program(self) -> int:
        """Wait for ``ready`` and for the end of the stream, which execve(2) brings.

        Returns the terminal or -1; raises ``StartFailed``.
        """
        assert self.channel is not None
        _, fds = self.channel.expect("ready")
        try:
            self.channel.expect_end()
        except BaseException:
            close_all(fds)
            raise
        self.channel.close()
        self.channel = None
        return fds[0] if fds else -1

    def oom_killed(self) -> bool:
        """Whether the kernel killed something inside for want of memory; ask before ``destroy``."""
        try:
            return self.cgroup.oom_kills() > self.oom_kills_before
        except OSError:
            return False

    def destroy(self) -> None:
        """Kill what is left, reap, remove the cgroup; safe when the process is reaped already."""
        if self.channel is not None:
            self.channel.close()
            self.channel = None
        process.kill_and_reap(self.pid, self.pidfd)
        os.close(self.pidfd)
        self.cgroup.destroy()


def prepare(warm: "Wire", clone_flags: int = 0) -> Sandbox:
    """Make a parked sandbox of WARM (launcher protocol); raises KetchError or OSError.

    With ``CLONE_PARENT`` in ``clone_flags`` the init is the caller's sibling and not its child.
    On failure nothing is left behind.
    """
    plan = plan_namespaces(warm["namespaces"])
    cgroup = Cgroup(warm["cgroup"]["parent"], warm["cgroup"]["name"])
    box: Sandbox | None = None
    try:
        cgroup.create()
        cgroup.apply_devices(defaults.device_rules())
        box = _clone(plan, cgroup, clone_flags, bool(warm.get("keyring", True)))
        if plan.makes(CLONE_NEWUSER):
            assert box.channel is not None
            handover.map_ids(box.pid, warm)
            box.channel.send("mapped")
        if warm.get("link"):
            links.plug(Link.from_wire(warm["link"]), box.pid)
        assert box.channel is not None
        box.channel.expect("staged")
    except BaseException:
        if box is not None:
            box.destroy()
        else:
            cgroup.destroy()
        raise
    return box


def _clone(plan: NamespacePlan, cgroup: Cgroup, flags: int, keyring: bool) -> Sandbox:
    """clone3 with every new namespace at once; the child goes on in ``run_init``."""
    ours, theirs = channel_pair()
    opened: list[int] = []
    try:
        joins = open_joins(plan)
        opened += [fd for fd, _ in joins]
        if plan.joins_before_clone:
            opened.append(open_namespace("pid", plan.joins_before_clone))
            namespaces.setns(opened[-1], CLONE_NEWPID)
        setup = ChildSetup(plan, joins)
        setup.prepare = not plan.has_user
        setup.keyring = keyring
        setup.cgroup_view = handover.view_of(cgroup, plan)
        setup.cgroup_tasks, unified = cgroup.open_doors()
        opened += setup.cgroup_tasks
        if unified >= 0:
            opened.append(unified)
        pid, pidfd = process.clone3(plan.clone_flags | flags, unified)
        if pid == 0:
            run_init(theirs, setup)
    finally:
        theirs.close()
        close_all(opened)
    box = Sandbox(plan, cgroup, (pid, pidfd))
    box.channel = ours
    return box


def join(job: "Wire", pidfd: int, stdio: "Sequence[int]") -> Started:
    """Run a further process in a container; ``job`` is EXEC, ``pidfd`` its init's.

    Raises ``StartFailed`` or OSError. The caller is the parent and reaps.
    """
    wanted = handover.process_order(job, job["process"])
    streams = handover.stdio_fds(stdio)
    wanted["stdio_count"] = len(streams)
    entry = entering.Entry(pidfd, int(job["init_pid"]))
    try:
        found = entering.enter(entry, wanted, streams, job["process"].get("oomScoreAdj"))
    finally:
        entry.close()
    return Started(*found)
