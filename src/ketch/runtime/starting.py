"""From a process inside the container's namespaces to the program (child side).

Shared by a container's first process and by exec processes.
"""

import os

from ketch.linux import process
from ketch.linux.paths import O_PATH
from ketch.linux.process import dup_above
from ketch.linux.script import Refused, Script
from ketch.runtime import console, defaults, hooks, privileges, program, users, workdir
from ketch.runtime.inside import BEYOND

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable
    from typing import Any

    from ketch.runtime.channel import Channel

_DEFAULT = bytes(32)  # struct sigaction of SIG_DFL; an empty set of signals
_SIGSET = 8  # bytes of a set
_SIG_SETMASK = 2


def open_console(devpts: int, wanted: "dict[str, Any]") -> "tuple[int, int] | None":
    """The two ends of a terminal on the file system ``devpts``, if one is wanted."""
    if not wanted.get("terminal"):
        return None
    rows, columns = wanted.get("console") or (0, 0)
    return console.open_terminal(devpts, (rows, columns))


def start_program(
    channel: "Channel",
    wanted: "dict[str, Any]",
    terminal: "tuple[int, int] | None",
    stdio: "list[int]",
    gate: "list[int]",
) -> None:
    """Become the program; raises ``StartFailed`` when that fails.

    ``terminal`` is (master, slave); ``gate`` holds the two FIFOs of an OCI ``create``, or nothing.
    """
    root_fd = os.open("/", O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    identity = identity_of(root_fd, wanted)
    env = environment_of(root_fd, wanted, identity)
    workdir.enter(root_fd, wanted["cwd"])
    os.close(root_fd)
    if not wanted.get("parent_death_signal", process.SIGKILL):
        process.die_with_parent(0)  # before our parent, told that we are ready, may leave
    channel.send("ready", None, [terminal[0]] if terminal else [])
    if gate:
        channel.report_to(gate[1])
    elif len(stdio) > 3:
        channel.move_to(dup_above(3, 128))  # fd 3 will be one that is preserved
    _take_stdio(terminal, stdio, identity.uid)  # before the wait: our creator's pipes must end
    if gate:
        hooks.wait_for_start(gate[0])
    for hook in wanted.get("start_hooks") or ():
        hooks.run(hook, wanted["hook_state"], env)
    script = Script()
    become_program(script, wanted, identity, env)
    try:
        script.run()
    except Refused as error:
        raise program.failure(error) from None


def become_program(
    script: Script, wanted: "dict[str, Any]", identity: users.Identity, env: "dict[str, str]"
) -> None:
    """The end of the script of a process whose stdio and working directory are in place.

    Raises ``StartFailed`` when there is no such program: it is looked up here and now.
    """
    privileges.set_limits(script, wanted.get("rlimits") or [])
    script.call("umask", wanted.get("umask", 0o022))
    path = program.find(wanted["args"][0], env.get("PATH", defaults.PATH))
    privileges.become(script, identity, wanted)
    program.execute(script, wanted["init_fd"], path, wanted["args"], env)


def environment_of(
    root_fd: int, wanted: "dict[str, Any]", identity: users.Identity
) -> "dict[str, str]":
    """The variables, with a HOME."""
    env = program.environment(wanted["env"])
    if not env.get("HOME"):
        env["HOME"] = identity.home or users.home_of(root_fd, identity.uid)
    return env


def identity_of(root_fd: int, wanted: "dict[str, Any]") -> users.Identity:
    """Whose process it will be: a user of the container, or numbers."""
    if wanted["user"] is not None:
        return users.resolve(root_fd, wanted["user"], wanted.get("groups_add") or ())
    uid, gid, groups = wanted["ids"]
    return users.Identity(uid, gid, groups)


def _take_stdio(terminal: "tuple[int, int] | None", stdio: "list[int]", uid: int) -> None:
    """Put stdio (and fds to preserve) in place; all other fds are close-on-exec already.

    ``stdio`` may hold numbers below its own length: they are moved out of the way first.
    """
    if terminal:
        console.take_terminal(terminal[1])
        stdio = [terminal[1]] * 3 + stdio[3:]
    above = [dup_above(fd, BEYOND + len(stdio)) for fd in stdio]
    for target, fd in enumerate(above):
        os.dup2(fd, target, inheritable=True)
    for fd in above:
        os.close(fd)
    if uid:
        give_stdio(range(3), uid)


def give_stdio(streams: "Iterable[int]", uid: int) -> None:
    """Let the user reopen /dev/stdout."""
    for fd in streams:
        if is_given(fd):
            try:
                os.fchown(fd, uid, -1)
            except OSError:
                continue


def is_given(fd: int) -> bool:
    """Whether a stream becomes the user's: pipes and terminals do, files are not ours."""
    return os.fstat(fd).st_mode & 0o170000 == 0o010000 or os.isatty(fd)


def reset_signals(script: Script) -> None:
    """Dispositions to their defaults where the caller's handlers are not inherited anyway."""
    for number in process.ignored_signals():
        script.call("rt_sigaction", number, _DEFAULT, 0, _SIGSET)
    script.call("rt_sigprocmask", _SIG_SETMASK, _DEFAULT, 0, _SIGSET)
