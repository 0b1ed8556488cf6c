"""What a process has started, found by session and descent, and signals to all of it.

An exec process leads a session of its own (setsid(2)), which its children stay in unless they
leave it; those that left are found as long as their parents live. A container may hide a process
from this, but not from its own end: everything dies with the container's init.
"""

import os

from ketch.linux import process

_PASSES = 8  # a tree that forks while it is killed is looked at again


def kill_tree(leader: int) -> None:
    """SIGKILL to ``leader`` (a PID that the caller has not reaped) and all that it started."""
    for _ in range(_PASSES):
        found = members(leader)
        if not found:
            return
        for pid in found:
            _kill(pid, leader)


def members(leader: int) -> "list[int]":
    """The leader, its session and its descendants, as far as they live."""
    table = _table()
    chosen = {pid for pid, (_, session) in table.items() if session == leader}
    if leader in table:
        chosen.add(leader)
    grown = True
    while grown:
        children = {pid for pid, (parent, _) in table.items() if parent in chosen} - chosen
        chosen |= children
        grown = bool(children)
    return sorted(chosen)


def _table() -> "dict[int, tuple[int, int]]":
    """Each living process's parent and session (proc_pid_stat(5), fields 4 and 6)."""
    found = {}
    for name in os.listdir("/proc"):
        if name.isdecimal() and (entry := _stat(int(name))) is not None:
            found[int(name)] = entry
    return found


def _stat(pid: int) -> "tuple[int, int] | None":
    try:
        with open(f"/proc/{pid}/stat", "rb") as file:
            fields = file.read().rpartition(b")")[2].split()
    except OSError:
        return None
    return None if fields[0] in (b"Z", b"X") else (int(fields[1]), int(fields[3]))


def _kill(pid: int, leader: int) -> None:
    """Kill ``pid`` if it is still what ``members`` saw: the number may be another's by now."""
    try:
        pidfd = process.pidfd_open(pid)
    except OSError:
        return
    try:
        if _belongs(pid, leader):
            process.pidfd_send_signal(pidfd, process.SIGKILL)
    except OSError:
        pass
    finally:
        os.close(pidfd)


def _belongs(pid: int, leader: int) -> bool:
    """By its session or by its chain of parents."""
    entry, current = _stat(pid), pid
    while entry is not None and current > 1:
        if current == leader or entry[1] == leader:
            return True
        current = entry[0]
        entry = _stat(current)
    return False
