"""What tells one process from a later one with the same number."""

from __future__ import annotations


def start_time(pid: int) -> int:
    """Field 22 of /proc/PID/stat in clock ticks since boot (proc_pid_stat(5)); 0 when it is gone.

    A zombie counts as gone.
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
