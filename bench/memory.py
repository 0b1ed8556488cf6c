"""Memory of the daemons and of the supervisors of containers."""

from __future__ import annotations

import statistics
import time
from pathlib import Path

from bench.engines import Docker, Engine, Ketch
from bench.timing import Row

CONTAINERS = 15
REST = 5.0  # seconds


def field(pid: int, name: str) -> float:
    """One line of /proc/PID/smaps_rollup, in MB (proc_pid_smaps(5))."""
    for line in Path(f"/proc/{pid}/smaps_rollup").read_text().splitlines():
        if line.startswith(name + ":"):
            return int(line.split()[1]) / 1024
    raise KeyError(name)


def idle(docker: Docker, ketch: Ketch) -> list[Row]:
    """Memory at rest: some seconds after the images were loaded.

    RSS of dockerd and containerd against ketchd and launcher; and, since forked processes share
    most of their pages, PSS of everything that is there, the warm sandboxes included.
    """
    time.sleep(REST)
    rss = [sum(field(pid, "Rss") for pid in engine.tree()) for engine in (docker, ketch)]
    pss = [sum(field(pid, "Pss") for pid in engine.everything()) for engine in (docker, ketch)]
    return [
        Row("idle RSS, daemon and launcher", *rss, rss[1] / rss[0], 0.60, "MB"),
        Row("idle PSS, warm sandboxes included", *pss, pss[1] / pss[0], 0.60, "MB"),
    ]


def supervisors(docker: Docker, ketch: Ketch) -> list[Row]:
    """Private_Dirty and PSS of one supervisor at rest, median of 15."""
    names = [f"bench-memory-{index}" for index in range(CONTAINERS)]
    for engine in (docker, ketch):
        for name in names:
            engine.docker("run", "-d", "--name", name, "busybox", "sleep", "3600")
    time.sleep(REST)  # the youngest have not come to rest yet
    rows = [
        _row(
            "Private_Dirty", "private memory of a supervisor, 15 containers", docker, ketch, names
        ),
        _row("Pss", "PSS of a supervisor, 15 containers", docker, ketch, names),
    ]
    for engine in (docker, ketch):
        engine.docker("rm", "-f", *names)
    return rows


def _row(name: str, what: str, docker: Docker, ketch: Ketch, names: list[str]) -> Row:
    figures = [_median(engine, engine.supervisors(names), name) for engine in (docker, ketch)]
    return Row(what, *figures, figures[1] / figures[0], 0.40, "MB")


def _median(engine: Engine, pids: list[int], name: str) -> float:
    if len(pids) < CONTAINERS:
        raise RuntimeError(f"{engine.name}: {len(pids)} supervisors for {CONTAINERS} containers")
    return statistics.median(field(pid, name) for pid in pids)
