"""The victim of the OOM killer, from the kernel's log (mm/oom_kill.c prints one line for each)."""

from __future__ import annotations

import re
from collections.abc import Iterable

from ketch.engine.why.endings import OutOfMemory

_LINE = re.compile(
    r"oom-kill:constraint=\w+,.*?oom_memcg=(?P<group>[^,]*),task_memcg=(?P<where>[^,]*),"
    r"task=(?P<task>.*),pid=(?P<pid>\d+),uid=\d+"
)


def find(lines: Iterable[str], container_id: str, limit: int) -> OutOfMemory | None:
    """The last kill in the container's group; None when the log has none (any more)."""
    found = None
    for line in lines:
        match = _LINE.search(line)
        if match is not None and f"/{container_id}" in match["where"] + "/":
            found = OutOfMemory(victim=match["task"][:64], pid=int(match["pid"]), limit=limit)
    return found
