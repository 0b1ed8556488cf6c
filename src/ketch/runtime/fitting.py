"""Fitting out a container whose first process waits for it: the usual way of a start.

A *fitter* goes into the namespaces of a placeholder (``holding``), does there what it takes to make
a sandbox and to launch the program, and sends the placeholder the script by which it becomes that
program. The placeholder runs no Python and has no memory to copy. A fitter takes a lot of it, and
has it for the next container too (``returning``), while the shim, which stays, takes none of it.

It is root of the host with fds of the host, in the container's mount namespace for moments in which
no process of the container is there yet. So nobody else may be in the pid namespace
(``namespace_plan.stands_alone``); for others there is the ``maker``.
These functions run in a forked process and import nothing any more.
"""

import _socket
import marshal
import os

from ketch.links import Link
from ketch.linux import keyring, links, netlink, process, terminal
from ketch.linux.descriptors import close_all, close_all_but
from ketch.linux.loopback import loopback_up
from ketch.linux.namespaces import CLONE_NEWCGROUP, CLONE_NEWNET, CLONE_NEWPID, CLONE_NEWTIME
from ketch.linux.paths import O_PATH
from ketch.linux.placeholder import Guide
from ketch.linux.script import GO_ON, Script
from ketch.runtime import failures, handover, hostmounts, protocol, shim_part, starting, workdir
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.channel import Channel, unexpected
from ketch.runtime.child import failure_of
from ketch.runtime.execution import enter_root
from ketch.runtime.inside import Inside, open_joins
from ketch.runtime.launch_order import order
from ketch.runtime.namespace_plan import plan_namespaces
from ketch.runtime.shim_part import FAULTS
from ketch.runtime.staging import Stage
from ketch.runtime.supervisor import Supervisor

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.runtime.namespace_plan import NamespacePlan

    Body = dict[str, Any]

_PROCS = 2  # proc file systems for a container: one made ahead, and one as it was asked for


def fit_warm(warm: "Body", fds: "list[int]") -> bool:
    """Make a sandbox ahead, say so, and launch the START that comes, if one does: whether it did.

    ``fds`` are the channel to the shim, the launcher's socket, the host's rtnetlink socket if there
    is a link, the cgroup's v1 ``tasks`` files.
    """
    channel = Channel(_socket.socket(fileno=fds[0]))
    launcher = _socket.socket(fileno=fds[1])
    launcher.setblocking(True)
    try:
        fitting = Fitting(channel, warm, fds[2:])
    except Exception as error:
        protocol.send(launcher, {"ready": False, **failures.to_wire(error)})
        return False
    message = None
    try:
        protocol.send(launcher, {"ready": True})
        message = protocol.receive(launcher)
    except OSError:
        pass  # the launcher is gone
    if message is None:
        return False
    launcher.close()
    return _launch(fitting, message.body["start"], message.fds)


def fit_cold(start: "Body", fds: "list[int]") -> bool:
    """Start without a sandbox made ahead.

    ``fds`` are as with ``fit_warm``; in place of the launcher's those of START.
    """
    channel = Channel(_socket.socket(fileno=fds[0]))
    count = 3 + len(start.get("images", ())) + len(start["attach"])
    warm = {
        "cgroup": start["cgroup"],
        "link": start["link"],
        "namespaces": start["spec"]["linux"]["namespaces"],
    }
    try:
        fitting = Fitting(channel, warm, fds[count:])
    except Exception as error:
        control = fds[2 + len(start.get("images", ()))]
        Supervisor(start, _socket.socket(fileno=control)).fail_with(failure_of(error))
        return False
    return _launch(fitting, start, fds[1:count])


class Fitting:
    """A placeholder and what is made for it."""

    __slots__ = ("_flags", "_guide", "_pid", "_pidfd", "_stage", "channel")

    def __init__(self, channel: Channel, warm: "Body", fds: "list[int]") -> None:
        """Plug the link and mount the pseudo filesystems; raises ``StartFailed`` or OSError."""
        os.umask(0)
        process.set_dumpable(False)
        hostmounts.come_back()
        plan = plan_namespaces(warm["namespaces"])
        self.channel = channel
        (self._pid, address), (self._pidfd, door) = channel.expect("born")
        self._guide = Guide(door, address)
        self._flags = plan.flags & ~(CLONE_NEWPID | CLONE_NEWTIME)
        procs = self._settle(plan, fds[1:] if warm.get("link") else fds)
        cgroup = Cgroup(warm["cgroup"]["parent"], warm["cgroup"]["name"])
        with self._inside():
            if plan.makes(CLONE_NEWNET):
                loopback_up()
            if warm.get("link"):
                with netlink.Route(fds[0]) as host:
                    links.plug_here(Link.from_wire(warm["link"]), host)
            self._stage = Stage(handover.view_of(cgroup, plan), True, procs)
        channel.send("prepared", self._guide.address)
        channel.die_with_peer()

    def _settle(self, plan: "NamespacePlan", tasks: "list[int]") -> "list[int]":
        """Into the cgroups, and namespaces that are not there from the birth; a session of its own.

        Returns contexts of proc file systems.
        """
        joins = open_joins(plan)
        script = Script()
        script.call("prctl", process.PR_SET_NAME, b"ketch-init", 0, 0, 0)
        for fd in range(len(tasks)):
            script.call("write", fd, b"0", 1, what="the cgroup")
        for fd, (_, flag) in enumerate(joins, len(tasks)):
            script.call("setns", fd, flag, what="a namespace")
        if plan.makes(CLONE_NEWCGROUP):
            script.call("unshare", CLONE_NEWCGROUP)
        script.call("setsid")
        script.call("keyctl", keyring.JOIN_SESSION_KEYRING, 0, failing=GO_ON)  # child.new_keyring
        starting.reset_signals(script)
        names = self._guide.prepare(script, [*tasks, *(fd for fd, _ in joins)], ["proc"] * _PROCS)
        procs = self._guide.await_ready(names)
        close_all([*tasks, *(fd for fd, _ in joins)])
        if procs is None:
            self.channel.send("lost", marshal.dumps(names))
            kind, why, _ = self.channel.receive()
            raise unexpected(kind, why)
        return procs

    def _inside(self) -> Inside:
        return Inside(self._pidfd, self._flags)

    def take_score(self, score: "int | None") -> "int | None":
        """Give it an OOM score: what its shim's was, which gets it too while they share memory."""
        if not score:
            return None
        with open("/proc/self/oom_score_adj", encoding="ascii") as file:
            own = int(file.read())
        handover.adjust_oom_score(self._pid, score)
        return own

    def become(self, plan: "Body", fds: "list[int]") -> "tuple[int, list[tuple[str, str]]]":
        """Make the container and send the script: its terminal or -1, the names of the calls."""
        wanted = plan["process"]
        wanted["cwd"] = _as_the_first(wanted["cwd"])
        with self._inside():
            terminal, stdio, extra = enter_root(self._stage, plan, fds)
            root = os.open("/", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            identity = starting.identity_of(root, wanted)
            env = starting.environment_of(root, wanted, identity)
            workdir.enter(root, wanted["cwd"])
            here = os.open(".", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
            script = _last_calls(len(stdio), terminal is not None)
            if wanted["init_fd"] >= 0:
                extra = [wanted["init_fd"]]
                wanted["init_fd"] = len(stdio) + 2
            starting.become_program(script, wanted, identity, env)
        if terminal:
            stdio[:3] = [terminal[1]] * 3
        if identity.uid:
            starting.give_stdio(stdio[:3], identity.uid)
        files = [*stdio, root, here, *extra]
        return terminal[0] if terminal else -1, self._guide.finish(script, files)


def _as_the_first(path: str) -> str:
    """A path for us: /proc/self is nothing to who is in another pid namespace than that proc."""
    link = "/proc/self"
    return "/proc/1" + path[len(link) :] if f"{path}/".startswith(f"{link}/") else path


def _last_calls(streams: int, has_terminal: bool) -> Script:
    """The beginning of the script: root and working directory are the files behind the streams."""
    script = Script()
    script.call("fchdir", streams)
    script.call("chroot", b".")  # as it is after pivot_root(2), whatever the launcher's root was
    script.call("fchdir", streams + 1)
    if has_terminal:
        script.call("ioctl", 0, terminal.TIOCSCTTY, 0, what="the terminal")
    return script


def _launch(fitting: Fitting, start: "Body", fds: "list[int]") -> bool:
    """Give the shim its part, make the container, report: whether the script is on its way."""
    channel = fitting.channel
    try:
        roots, rest = shim_part.roots_of(start, fds)
        os.umask(0o022)
        stdio = shim_part.hand_over(channel, start, rest)
        try:
            plan, plan_fds = order(start, roots, stdio.theirs)
        except FAULTS as error:
            raise shim_part.failure(error) from None
        score = fitting.take_score((start["spec"].get("process") or {}).get("oomScoreAdj"))
        os.umask(0)
        master, names = fitting.become(plan, plan_fds)
    except Exception as error:
        failure = failure_of(error)
        channel.send("failed", (failure.message, failure.exit_code))
        return False
    masters = [master] if master >= 0 else []
    close_all_but((channel.sock.fileno(), *masters))
    channel.live_on()
    channel.send("ready", (marshal.dumps(names), score), masters)
    return True
