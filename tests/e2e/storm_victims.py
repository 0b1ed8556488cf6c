"""Who is killed in a storm: the processes of one daemon, by what they do.

All that the launcher forked has its command line, with the daemon's directory in it; names and
parents tell them apart.
"""

from __future__ import annotations

import contextlib
import os
import random
import signal
from pathlib import Path
from typing import NamedTuple

from e2e.ketchd_process import Ketchd, parent_of

_NAMES = {
    "ketch-zygote": "zygote",
    "ketch-exec": "exec",
    "ketch-shim": "shim",
    "ketch-maker": "maker",
    "ketch-fitter": "fitter",
    "ketch-idle": "idle",
    "ketch-log": "log",
    "ketch-init": "init",
    "ketch-nursery": "nursery",
}
KINDS = ("launcher", *_NAMES.values(), "worker")


class Victim(NamedTuple):
    """A process."""

    kind: str
    pid: int


def victims(daemon: Ketchd) -> list[Victim]:
    """What lives now."""
    launcher = f"launcher_main.py\0{daemon.run}\0".encode()
    found = []
    for pid in (int(entry.name) for entry in Path("/proc").iterdir() if entry.name.isdigit()):
        with contextlib.suppress(OSError):
            if launcher in Path(f"/proc/{pid}/cmdline").read_bytes():
                found.append(Victim(_kind(pid), pid))
    return found


def _kind(pid: int) -> str:
    name = Path(f"/proc/{pid}/comm").read_text().strip()
    if name == "ketch-nursery":
        above = Path(f"/proc/{parent_of(pid)}/comm").read_text().strip()
        return "worker" if above == name else "nursery"
    return _NAMES.get(name, "launcher")


def kill_one(daemon: Ketchd, spared: set[int]) -> str:
    """``kill -9`` of one process of a random kind; what it was, "" for nothing."""
    alive = [victim for victim in victims(daemon) if victim.pid not in spared]
    kinds = {victim.kind for victim in alive}
    if not kinds:
        return ""
    kind = random.choice(sorted(kinds))
    victim = random.choice([victim for victim in alive if victim.kind == kind])
    with contextlib.suppress(ProcessLookupError):
        os.kill(victim.pid, signal.SIGKILL)
    return kind
