"""Latency of run and exec."""

from __future__ import annotations

import statistics

from bench.engines import Docker, Ketch
from bench.timing import Row, paired, seconds

RUN = ("run", "--rm", "busybox", "true")
CROWD = 200


def run_by_docker(docker: Docker, ketch: Ketch, rounds: int) -> Row:
    """``docker run --rm busybox true``, the same client on both."""
    figures = paired(
        lambda: seconds(["docker", *RUN], docker.environment()),
        lambda: seconds(["docker", *RUN], ketch.environment()),
        rounds,
    )
    return Row("docker run --rm busybox true", *figures, 0.15, "s")


def run_by_ketch(docker: Docker, ketch: Ketch, rounds: int) -> Row:
    """Each engine with its own client."""
    figures = paired(
        lambda: seconds(["docker", *RUN], docker.environment()),
        lambda: seconds(ketch.ketch(*RUN), ketch.environment()),
        rounds,
    )
    return Row("ketch run / docker run", *figures, 0.09, "s")


def execute(docker: Docker, ketch: Ketch, rounds: int) -> Row:
    """``docker exec NAME true``, the same client on both."""
    for engine in (docker, ketch):
        engine.docker("run", "-d", "--name", "bench-exec", "busybox", "sleep", "3600")
    words = ["docker", "exec", "bench-exec", "true"]
    figures = paired(
        lambda: seconds(words, docker.environment()),
        lambda: seconds(words, ketch.environment()),
        rounds,
    )
    for engine in (docker, ketch):
        engine.docker("rm", "-f", "bench-exec")
    return Row("docker exec … true", *figures, 0.40, "s")


def crowded(ketch: Ketch, rounds: int) -> Row:
    """Start latency with 200 containers running against none; both columns are ketch."""
    alone = statistics.median(_runs(ketch, rounds))
    names = [f"bench-crowd-{index}" for index in range(CROWD)]
    for name in names:
        ketch.docker("run", "-d", "--name", name, "busybox", "sleep", "3600")
    crowd = statistics.median(_runs(ketch, rounds))
    ketch.docker("rm", "-f", *names)
    return Row(
        "run with 200 running / with none (both ketch)", alone, crowd, crowd / alone, 1.2, "s"
    )


def _runs(ketch: Ketch, rounds: int) -> list[float]:
    return [seconds(["docker", *RUN], ketch.environment()) for _ in range(rounds + 1)][1:]
