"""A further process in a running container: looked up from its mount namespace, made by a script.

Whoever starts it goes into the container's mount namespace for a moment, finds there what has to be
found (the user, the working directory, the program, a terminal), and spawns a child that makes the
rest of the way by itself. Until it is the program, that child shares its parent's memory, which it
cannot be traced for from inside (it is not dumpable), and runs no Python.
"""

import os

from ketch.linux import keyring, process, terminal
from ketch.linux.descriptors import close_all
from ketch.linux.namespaces import CLONE_NEWNS, CLONE_NEWPID, CLONE_NEWTIME, CLONE_NEWUSER
from ketch.linux.paths import O_PATH
from ketch.linux.process import dup_above
from ketch.linux.script import GO_ON, Refused, Script
from ketch.runtime import console, handover, program, starting, workdir
from ketch.runtime.inside import BEYOND, Inside

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from ketch.runtime.users import Identity

    Wire = dict[str, Any]

_ALONE = CLONE_NEWUSER | CLONE_NEWTIME  # setns(2): not for who shares memory with another
_HERE = CLONE_NEWNS | CLONE_NEWPID  # entered by the parent


class Entry:
    """What it takes to be in a container: its init's ``pidfd``, flags of setns(2), its cgroups."""

    __slots__ = ("flags", "pidfd", "tasks", "unified")

    def __init__(self, pidfd: int, init: int) -> None:
        """Raises OSError when ``init`` is not the process of ``pidfd``, or is gone."""
        self.pidfd = pidfd
        self.flags = handover.namespaces_to_join(init)
        self.tasks, self.unified = handover.cgroup_doors(init)
        process.pidfd_send_signal(pidfd, 0)  # what was looked up by number is still that process

    def close(self) -> None:
        """The cgroups' fds; ``pidfd`` is the caller's."""
        close_all([*self.tasks, *([self.unified] if self.unified >= 0 else [])])


def enter(
    entry: Entry, wanted: "Wire", stdio: "Sequence[int]", oom_score: "int | None"
) -> "tuple[int, int, int]":
    """Start the process: its pid, a pidfd, and its terminal or -1.

    Raises ``StartFailed`` or OSError, and then there is no process.
    """
    process.set_dumpable(False)  # before anything of the container can see our child
    with _Score(oom_score), Inside(entry.pidfd, entry.flags & _HERE):
        prepared = _Prepared(wanted, stdio)
        try:
            child = _spawn(entry, wanted, prepared)
        except BaseException:
            close_all([prepared.master] if prepared.master >= 0 else [])
            raise
        finally:
            close_all(prepared.fds)
    return (*child, prepared.master)


def _spawn(entry: Entry, wanted: "Wire", prepared: "_Prepared") -> "tuple[int, int]":
    script = Script()
    _join(script, entry, prepared)
    starting.become_program(script, wanted, prepared.identity, prepared.env)
    try:
        return script.spawn(0, entry.unified, apart=bool(entry.flags & _ALONE))
    except Refused as error:
        raise program.failure(error) from None


class _Prepared:
    """What was found inside; the caller is in the working directory then."""

    __slots__ = ("env", "fds", "identity", "is_terminal", "master")

    identity: "Identity"

    def __init__(self, wanted: "Wire", stdio: "Sequence[int]") -> None:
        root_fd = os.open("/", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
        try:
            self.identity = starting.identity_of(root_fd, wanted)
            self.env = starting.environment_of(root_fd, wanted, self.identity)
            workdir.enter(root_fd, wanted["cwd"])
            self.is_terminal, self.master = bool(wanted.get("terminal")), -1
            streams = list(stdio)
            if self.is_terminal:
                devpts = console.find_devpts(root_fd)
                found = starting.open_console(devpts, wanted)
                os.close(devpts)
                assert found is not None
                self.master, slave = found
                streams[:3] = [slave] * 3
            # Out of the way of the numbers that they will have.
            self.fds = [dup_above(fd, BEYOND + len(streams)) for fd in streams]
            if self.is_terminal:
                os.close(slave)
        finally:
            os.close(root_fd)


def _join(script: Script, entry: Entry, prepared: _Prepared) -> None:
    """The script's first part: into cgroups and namespaces, with nothing of the host but stdio."""
    for fd in entry.tasks:
        script.call("write", fd, b"0", 1, what="the cgroup")
    script.call("setsid")
    pidfd = dup_above(entry.pidfd, BEYOND + len(prepared.fds))
    prepared.fds.append(pidfd)
    streams = prepared.fds[:-1]
    for number, fd in enumerate(streams):
        script.call("dup3", fd, number, 0)
    if prepared.is_terminal:
        script.call("ioctl", 0, terminal.TIOCSCTTY, 0, what="the terminal")
    rest = entry.flags & ~_HERE
    if rest:
        script.call("setns", pidfd, rest)
    script.call("close_range", len(streams), process.LAST_FD, 0)
    if entry.flags & CLONE_NEWUSER:
        script.call("setgroups", 0, 0)
        script.call("setresgid", 0, 0, 0)
        script.call("setresuid", 0, 0, 0)
        script.call("prctl", process.PR_SET_DUMPABLE, 0, 0, 0, 0)
    script.call("keyctl", keyring.JOIN_SESSION_KEYRING, 0, failing=GO_ON)  # as child.new_keyring
    starting.reset_signals(script)
    if prepared.identity.uid:
        for number, fd in enumerate(streams[:3]):
            if starting.is_given(fd):
                script.call("fchown", number, prepared.identity.uid, -1, failing=GO_ON)


class _Score:
    """Context manager: children are born with an OOM score; best effort, as everywhere."""

    def __init__(self, score: "int | None") -> None:
        self._score = score
        self._own = 0

    def __enter__(self) -> None:
        if self._score:
            with open("/proc/self/oom_score_adj", encoding="ascii") as file:
                self._own = int(file.read())
            handover.adjust_oom_score("self", self._score)

    def __exit__(self, *_: object) -> None:
        if self._score:
            handover.set_oom_score("self", self._own)
