"""System calls that a seccomp filter denied, from the kernel's log (kernel/auditsc.c).

The kernel writes them down when they end the process, or when the filter was loaded with
``SECCOMP_FILTER_FLAG_LOG`` (seccomp(2)): that is what ``ketch why --rerun`` does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from ketch.engine.why.endings import DeniedCall
from ketch.runtime.seccomp import numbers

_LINE = re.compile(
    r"type=1326 audit\((?P<seconds>\d+)\.(?P<ms>\d{3}):\d+\):.*? pid=(?P<pid>\d+) "
    r"comm=(?P<comm>\S+) .*?arch=(?P<arch>[0-9a-f]+) syscall=(?P<call>\d+)"
)
_KEPT = 20
_NOISE = frozenset({"clone3"})  # answered "not implemented" on purpose; the C library knows


def find(lines: Iterable[str], since: int, until: int, pid: int) -> tuple[DeniedCall, ...]:
    """What was denied between two instants (ns since the epoch); ``pid`` is the first process's.

    Processes that were there before that one are of somebody else. Without the mark ``first``
    a process may still have been of another container.
    """
    found: Counter[tuple[str, str, bool]] = Counter()
    limit = _highest_pid()
    for line in lines:
        match = _LINE.search(line)
        if match is None:
            continue
        at = int(match["seconds"]) * 1_000_000_000 + int(match["ms"]) * 1_000_000
        call = numbers.name_of(int(match["arch"], 16), int(match["call"]))
        age = _started_after(int(match["pid"]), pid, limit)
        if since <= at <= until and call not in _NOISE and age >= 0:
            found[(call, _program(match["comm"]), age == 0)] += 1
    return tuple(
        DeniedCall(call=call, program=program, count=count, first=first)
        for (call, program, first), count in found.most_common(_KEPT)
    )


def _started_after(pid: int, first: int, limit: int) -> int:
    """How far on a process's number is from the first one's; negative for an older process.

    The kernel counts up and begins anew at ``limit``.
    """
    return (pid - first + limit // 2) % limit - limit // 2


def _highest_pid() -> int:
    """Where the numbers of processes begin anew (proc_sys_kernel(5), pid_max)."""
    with open("/proc/sys/kernel/pid_max") as file:
        return int(file.read())


def _program(comm: str) -> str:
    """The audit log quotes plain names and writes others in hexadecimal."""
    if comm.startswith('"'):
        return comm.strip('"')
    try:
        return bytes.fromhex(comm).decode(errors="replace")
    except ValueError:
        return comm
