"""What the streams cost: CPU seconds of the engine for a GB of attach and logs, and for stats.

The docker command line is the client; its CPU and the container's are not counted. The limits are
absolute: 2 CPU seconds a GB are 0.5 GB/s with the CPU of one core.
"""

from __future__ import annotations

import os
import subprocess
import time
from pathlib import Path

from bench.engines import Docker, Engine, Ketch
from bench.timing import Row

ATTACHED = 500_000_000  # bytes
LOGGED = 300_000_000
LINE = "x" * 127
CROWD = 100
WATCHED = 10.0  # seconds
_TICKS = os.sysconf("SC_CLK_TCK")
_GB = 1e9


def cpu(pids: list[int]) -> float:
    """CPU seconds that processes have had, with their threads (proc_pid_stat(5))."""
    total = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        total += int(fields[11]) + int(fields[12])
    return total / _TICKS


def attach(docker: Docker, ketch: Ketch) -> list[Row]:
    """Lines of 128 bytes to an attached client and the json-file log; and to the client alone."""
    return [
        _row("attach and json-file log, CPU s a GB", docker, ketch, _attached, "json-file"),
        _row("attach alone, CPU s a GB", docker, ketch, _attached, "none"),
    ]


def logs(docker: Docker, ketch: Ketch) -> list[Row]:
    """Lines of 128 bytes read back by ``docker logs``."""
    return [
        _row("logs of json-file, CPU s a GB", docker, ketch, _logged, "json-file"),
        _row("logs of local, CPU s a GB", docker, ketch, _logged, "local"),
    ]


def _row(what: str, docker: Engine, ketch: Engine, measure: object, driver: str) -> Row:
    assert callable(measure)
    figures = [measure(engine, driver) for engine in (docker, ketch)]
    return Row(what, *figures, figures[1], 2.0, "s")


def _attached(engine: Engine, driver: str) -> float:
    script = f"read x; yes {LINE} | head -c {ATTACHED}; read y"
    name = "bench-attach"
    engine.docker("create", "-i", "--name", name, "--log-driver", driver, "busybox", "sh", "-c",
                  script)  # fmt: skip
    client = subprocess.Popen(
        ["docker", "start", "-ai", name],
        env=engine.environment(),
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
    )
    assert client.stdin is not None
    assert client.stdout is not None
    try:
        while engine.docker("inspect", "-f", "{{.State.Running}}", name).strip() != "true":
            time.sleep(0.05)
        pids = [*engine.tree(), *engine.supervisors([name])]
        before = cpu(pids)
        client.stdin.write(b"\n")
        client.stdin.flush()
        _take(client.stdout.fileno(), ATTACHED)
        return (cpu(pids) - before) / ATTACHED * _GB
    finally:
        client.stdin.close()
        client.wait()
        engine.docker("rm", "-f", name)


def _logged(engine: Engine, driver: str) -> float:
    name = "bench-logs"
    size = ["--log-opt", "max-size=2g"]
    engine.docker("run", "--name", name, "--log-driver", driver, *size, "busybox", "sh", "-c",
                  f"yes {LINE} | head -c {LOGGED}")  # fmt: skip
    try:
        before = cpu(engine.tree())
        client = subprocess.Popen(
            ["docker", "logs", name], env=engine.environment(), stdout=subprocess.PIPE
        )
        assert client.stdout is not None
        _take(client.stdout.fileno(), LOGGED)
        client.wait()
        return (cpu(engine.tree()) - before) / LOGGED * _GB
    finally:
        engine.docker("rm", "-f", name)


def _take(fd: int, count: int) -> None:
    while count > 0:
        data = os.read(fd, 1 << 20)
        if not data:
            raise RuntimeError(f"the stream ended {count} bytes early")
        count -= len(data)


def stats(docker: Docker, ketch: Ketch) -> Row:
    """The share of a core that ``docker stats`` of 100 containers takes."""
    figures = [_watched(engine) for engine in (docker, ketch)]
    return Row(f"stats of {CROWD} containers, of a core", *figures, figures[1], 0.05, "")


def _watched(engine: Engine) -> float:
    names = [f"bench-stats-{index}" for index in range(CROWD)]
    for name in names:
        engine.docker("run", "-d", "--name", name, "busybox", "sleep", "3600")
    client = subprocess.Popen(
        ["docker", "stats"], env=engine.environment(), stdout=subprocess.DEVNULL
    )
    try:
        time.sleep(3)
        before, started = cpu(engine.tree()), time.monotonic()
        time.sleep(WATCHED)
        return (cpu(engine.tree()) - before) / (time.monotonic() - started)
    finally:
        client.kill()
        client.wait()
        engine.docker("rm", "-f", *names)
