"""Processes: clone3(2), pidfds, prctl(2), close_range(2), signals to their defaults."""

import _signal  # type: ignore[import-not-found]
import ctypes
import fcntl
import os

from ketch.linux.libc import check, libc, syscall

_CLONE3, _PIDFD_OPEN, _PIDFD_SEND_SIGNAL, _CLOSE_RANGE = 435, 434, 424, 436
_CLONE_PIDFD = 0x1000
CLONE_PARENT = 0x8000
CLONE_VM, CLONE_VFORK = 0x100, 0x4000
CLONE_CLEAR_SIGHAND = 0x100000000  # Linux 5.5
_CLONE_INTO_CGROUP = 0x200000000
CLOSE_RANGE_CLOEXEC = 4
LAST_FD = 0xFFFFFFFF  # of close_range(2)
_SIGCHLD = 17
SIGKILL = 9
SIGTERM = 15

PR_SET_PDEATHSIG, PR_SET_DUMPABLE, PR_SET_KEEPCAPS, PR_SET_NO_NEW_PRIVS = 1, 4, 8, 38
PR_SET_NAME, _PR_SET_CHILD_SUBREAPER = 15, 36


class _CloneArgs(ctypes.Structure):
    """struct clone_args (linux/sched.h), version 2 with the cgroup field."""

    _fields_ = (
        ("flags", ctypes.c_uint64),
        ("pidfd", ctypes.c_uint64),
        ("child_tid", ctypes.c_uint64),
        ("parent_tid", ctypes.c_uint64),
        ("exit_signal", ctypes.c_uint64),
        ("stack", ctypes.c_uint64),
        ("stack_size", ctypes.c_uint64),
        ("tls", ctypes.c_uint64),
        ("set_tid", ctypes.c_uint64),
        ("set_tid_size", ctypes.c_uint64),
        ("cgroup", ctypes.c_uint64),
    )


def clone3(flags: int, cgroup_fd: int = -1) -> "tuple[int, int]":
    """fork with namespaces: ``(pid, pidfd)`` in the parent, ``(0, -1)`` in the child.

    ``cgroup_fd``, a directory of a cgroup v2 tree, is where the child is born (Linux 5.7). With
    ``CLONE_PARENT`` the child is the caller's sibling: the caller's parent reaps it.
    No fork handler of Python or of the C library runs: the caller has one thread.
    """
    arguments, pidfd = clone_arguments(flags, cgroup_fd)
    pid = syscall(_CLONE3, ctypes.byref(arguments), ctypes.sizeof(arguments))
    return pid, pidfd.value if pid else -1


def clone_arguments(flags: int, cgroup_fd: int) -> "tuple[_CloneArgs, ctypes.c_int]":
    """What ``clone3`` tells the kernel, and where the pidfd will be."""
    pidfd = ctypes.c_int(-1)
    signal = 0 if flags & CLONE_PARENT else _SIGCHLD  # a sibling dies with the caller's own signal
    arguments = _CloneArgs(flags=flags | _CLONE_PIDFD, exit_signal=signal)
    arguments.pidfd = ctypes.addressof(pidfd)
    if cgroup_fd >= 0:
        arguments.flags |= _CLONE_INTO_CGROUP
        arguments.cgroup = cgroup_fd
    return arguments, pidfd


def pidfd_open(pid: int) -> int:
    """A handle of a process that never means another one; ESRCH when there is none."""
    return syscall(_PIDFD_OPEN, pid, 0)


def pidfd_send_signal(pidfd: int, signal: int) -> None:
    """ESRCH when the process is gone."""
    syscall(_PIDFD_SEND_SIGNAL, pidfd, signal, None, 0)


def close_from(first: int) -> None:
    """Close every fd from ``first`` up; Linux 5.9."""
    syscall(_CLOSE_RANGE, first, ctypes.c_uint(LAST_FD), 0)


def close_on_exec_from(first: int) -> None:
    """Mark every fd from ``first`` up close-on-exec; Linux 5.11."""
    syscall(_CLOSE_RANGE, first, ctypes.c_uint(LAST_FD), CLOSE_RANGE_CLOEXEC)


def prctl(option: int, value: int) -> None:
    """prctl(2) with one argument."""
    zero = ctypes.c_ulong(0)
    check(libc.prctl(option, ctypes.c_ulong(value), zero, zero, zero))


def set_name(name: bytes) -> None:
    """What ps(1) shows of the calling thread, at most 15 bytes."""
    zero = ctypes.c_ulong(0)
    check(libc.prctl(PR_SET_NAME, name, zero, zero, zero))


def die_with_parent(signal: int) -> None:
    """Get ``signal`` when the parent dies; forgotten when credentials change."""
    prctl(PR_SET_PDEATHSIG, signal)


def set_dumpable(dumpable: bool) -> None:
    """Whether others of the same user may trace it or open its /proc entries; exec resets it."""
    prctl(PR_SET_DUMPABLE, int(dumpable))


def set_no_new_privileges() -> None:
    """exec never grants anything more from here on."""
    prctl(PR_SET_NO_NEW_PRIVS, 1)


def set_child_subreaper() -> None:
    """Orphaned descendants become children of the caller."""
    prctl(_PR_SET_CHILD_SUBREAPER, 1)


def reset_signals() -> None:
    """All dispositions to default and nothing blocked, as a program expects at its start."""
    for number in range(1, 65):
        try:
            if _signal.getsignal(number) != _signal.SIG_DFL:
                _signal.signal(number, _signal.SIG_DFL)
        except (OSError, ValueError, TypeError):
            continue  # SIGKILL, SIGSTOP and the two that the C library keeps
    _signal.pthread_sigmask(_signal.SIG_SETMASK, ())


def ignored_signals() -> "list[int]":
    """The signals that the caller ignores, which would be inherited through execve(2)."""
    ignored = _signal.SIG_IGN
    return [number for number in range(1, 65) if _signal.getsignal(number) == ignored]


def kill_and_reap(pid: int, pidfd: int) -> None:
    """Kill a child of the caller and wait for it; no error when it is gone already."""
    try:
        pidfd_send_signal(pidfd, SIGKILL)
    except OSError:
        pass
    try:
        os.waitpid(pid, 0)
    except ChildProcessError:
        pass


def dup_above(fd: int, lowest: int) -> int:
    """A close-on-exec duplicate with a number of at least ``lowest`` (F_DUPFD_CLOEXEC)."""
    return fcntl.fcntl(fd, fcntl.F_DUPFD_CLOEXEC, lowest)


def start_time(pid: int) -> int:
    """When a living process was started, in clock ticks since boot; 0 for a dead one or a zombie.

    With the pid it names one process (proc_pid_stat(5), fields 3 and 22).
    """
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return 0
    return 0 if fields[0] in (b"Z", b"X") else int(fields[19])


def is_alive(pid: int, started: int) -> bool:
    """Whether the process ``pid`` that started at ``started`` still runs."""
    return pid > 0 and started > 0 and start_time(pid) == started
