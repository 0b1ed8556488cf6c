"""The child of a sandbox: from clone3 to execve (runs in the new namespaces).

No module is imported here after the start: soon the files of this interpreter are out of sight,
and what is in their place belongs to the container.
"""

import os

from ketch.errors import KetchError, StartFailed, errno_text
from ketch.linux import keyring, namespaces, process
from ketch.linux.loopback import loopback_up
from ketch.runtime.cgroups.group import join_here
from ketch.runtime.execution import execute_plan
from ketch.runtime.staging import Stage

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import NoReturn

    from ketch.runtime.channel import Channel
    from ketch.runtime.mounting import CgroupView
    from ketch.runtime.namespace_plan import NamespacePlan


class ChildSetup:
    """What the child inherits by being a copy of its parent: fds and values for the warm stage."""

    __slots__ = ("cgroup_tasks", "cgroup_view", "joins", "keyring", "namespaces", "prepare")

    def __init__(self, plan: "NamespacePlan", joins: "list[tuple[int, int]]") -> None:
        self.namespaces = plan
        self.joins = joins
        self.cgroup_tasks: list[int] = []
        self.cgroup_view: CgroupView = []
        self.keyring = self.prepare = True


def guarded(channel: "Channel", body: "Callable[[], None]") -> "NoReturn":
    """Run ``body``, which should not return, and tell the parent why it did."""
    try:
        body()
        failure = StartFailed("the sandbox ended without a program", 128)
    except BaseException as error:  # nothing may escape into the parent's code
        failure = failure_of(error)
    try:
        channel.send("failed", (failure.message, failure.exit_code))
    except OSError:
        pass
    os._exit(125)


def failure_of(error: BaseException) -> StartFailed:
    """What went wrong in a sandbox, as the failure of a start."""
    if isinstance(error, StartFailed):
        return error
    if isinstance(error, KetchError):
        return StartFailed(error.message, 128)
    reason = f"{type(error).__name__}: {error}"
    if isinstance(error, OSError):
        reason = errno_text(error) + (f": {os.fsdecode(error.filename)}" if error.filename else "")
    return StartFailed(f"cannot set up the sandbox: {reason}", 128)


def become_private() -> None:
    """Out of reach for others before anything of the container can see us."""
    process.set_dumpable(False)
    process.die_with_parent(process.SIGKILL)
    process.reset_signals()
    os.umask(0)


def run_init(channel: "Channel", setup: ChildSetup) -> "NoReturn":
    """The whole life of a sandbox's first process before it becomes the container's program."""
    guarded(channel, lambda: _init(channel, setup))


def _init(channel: "Channel", setup: ChildSetup) -> None:
    become_private()
    if setup.namespaces.has_user:
        channel.expect("mapped")
        become_namespace_root()
    enter(setup)
    _drop_inherited_fds(channel)
    settle(setup)
    stage = Stage(setup.cgroup_view, setup.prepare)
    channel.send("staged")
    kind, plan, fds = channel.receive()
    if kind != "launch":
        os._exit(0)  # the parent let go of us
    process.set_dumpable(False)
    execute_plan(channel, stage, plan, fds)


def enter(setup: ChildSetup) -> None:
    """Into the cgroups, and the namespaces that are not there from the birth."""
    join_here(setup.cgroup_tasks)
    for fd, flag in setup.joins:
        namespaces.setns(fd, flag)
    if setup.namespaces.makes(namespaces.CLONE_NEWCGROUP):
        namespaces.unshare(namespaces.CLONE_NEWCGROUP)


def settle(setup: ChildSetup) -> None:
    """A session, a keyring and a loopback interface of its own."""
    os.setsid()
    if setup.keyring:
        new_keyring()
    if setup.namespaces.makes(namespaces.CLONE_NEWNET):
        loopback_up()


def become_namespace_root() -> None:
    """User and group 0 of the user namespace just entered."""
    os.setgroups([])
    os.setresgid(0, 0, 0)
    os.setresuid(0, 0, 0)
    process.set_dumpable(False)


def _drop_inherited_fds(channel: "Channel") -> None:
    """Everything that the launcher had open goes; the channel moves to fd 3."""
    channel.move_to(3)
    process.close_from(4)


def new_keyring() -> None:
    """Keys of whoever started us stay out of the container (keyrings(7))."""
    try:
        keyring.join_new_session_keyring()
    except OSError:
        pass  # a kernel without keyrings has nothing to hide either
