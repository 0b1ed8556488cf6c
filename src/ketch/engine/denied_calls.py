"""System calls that a seccomp filter denied, from the kernel's log (kernel/auditsc.c).

The kernel writes them down when they end the process, or when the filter was loaded with
``SECCOMP_FILTER_FLAG_LOG`` (seccomp(2)): that is what ``ketch why --rerun`` does.
"""

from __future__ import annotations

import re
from collections import Counter
from collections.abc import Iterable

from ketch.engine.endings import DeniedCall
from ketch.runtime.seccomp import numbers

_LINE = re.compile(
    r"type=1326 audit\((?P<seconds>\d+)\.(?P<ms>\d{3}):\d+\):.*? pid=(?P<pid>\d+) "
    r"comm=(?P<comm>\S+) .*?arch=(?P<arch>[0-9a-f]+) syscall=(?P<call>\d+)"
)
_KEPT = 20
_EARLIER = 300_000_000  # ns; a program runs before its supervisor says so, on a coarser clock
_NOISE = frozenset({"clone3"})  # answered "not implemented" on purpose; the C library knows


def find(lines: Iterable[str], since: int, until: int, pid: int) -> tuple[DeniedCall, ...]:
    """What was denied between two instants (ns since the epoch); ``pid`` is the first process's.

    Without the mark ``first`` the process may have been of another container.
    """
    found: Counter[tuple[str, str, bool]] = Counter()
    for line in lines:
        match = _LINE.search(line)
        if match is None:
            continue
        at = int(match["seconds"]) * 1_000_000_000 + int(match["ms"]) * 1_000_000
        call = numbers.name_of(int(match["arch"], 16), int(match["call"]))
        if since - _EARLIER <= at <= until and call not in _NOISE:
            found[(call, _program(match["comm"]), int(match["pid"]) == pid)] += 1
    return tuple(
        DeniedCall(call=call, program=program, count=count, first=first)
        for (call, program, first), count in found.most_common(_KEPT)
    )


def _program(comm: str) -> str:
    """The audit log quotes plain names and writes others in hexadecimal."""
    if comm.startswith('"'):
        return comm.strip('"')
    try:
        return bytes.fromhex(comm).decode(errors="replace")
    except ValueError:
        return comm
