"""The child of an exec: entering a running container (child side)."""

import os

from ketch.linux import namespaces, process
from ketch.linux.paths import O_PATH
from ketch.linux.process import dup_above
from ketch.runtime import console
from ketch.runtime.cgroups.group import join_here
from ketch.runtime.child import become_namespace_root, become_private, guarded, new_keyring
from ketch.runtime.handover import adjust_oom_score
from ketch.runtime.starting import open_console, start_program

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, NoReturn

    from ketch.runtime.channel import Channel


class JoinSetup:
    """What an exec process inherits: ``flags`` and ``pidfd`` for setns(2), cgroups, the plan."""

    __slots__ = ("cgroup_tasks", "enters_user", "flags", "oom_score", "pidfd", "stdio", "wanted")

    def __init__(self, pidfd: int, flags: int, wanted: "dict[str, Any]") -> None:
        self.pidfd = pidfd
        self.flags = flags
        self.wanted = wanted
        self.cgroup_tasks: list[int] = []
        self.enters_user = bool(flags & namespaces.CLONE_NEWUSER)
        self.stdio: list[int] = []
        self.oom_score: int | None = None


def run_exec(channel: "Channel", setup: JoinSetup) -> "NoReturn":
    """The whole life of an exec process before it becomes the program asked for."""
    guarded(channel, lambda: _exec(channel, setup))


def _exec(channel: "Channel", setup: JoinSetup) -> None:
    adjust_oom_score("self", setup.oom_score)  # nobody waits between here and the program
    become_private()
    join_here(setup.cgroup_tasks)
    os.setsid()
    stdio = _keep_only(channel, setup)
    namespaces.setns(setup.pidfd, setup.flags)
    if setup.enters_user:
        become_namespace_root()
    process.set_dumpable(False)
    os.close(setup.pidfd)
    os.chdir("/")
    new_keyring()
    root_fd = os.open("/", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    devpts = console.find_devpts(root_fd) if setup.wanted.get("terminal") else -1
    terminal = open_console(devpts, setup.wanted)
    os.close(root_fd)
    start_program(channel, setup.wanted, terminal, stdio, [])


def _keep_only(channel: "Channel", setup: JoinSetup) -> "list[int]":
    """Close all fds but the channel (3), the pidfd (4) and stdio (5…), which are moved there."""
    kept = [channel.sock.fileno(), setup.pidfd, *setup.stdio]
    above = [dup_above(fd, 64 + len(kept)) for fd in kept]
    channel.move_to(3)
    for target, fd in enumerate(above[1:], 4):
        os.dup2(fd, target, inheritable=False)
    setup.pidfd = 4
    process.close_from(3 + len(kept))
    return list(range(5, 5 + len(setup.stdio)))
