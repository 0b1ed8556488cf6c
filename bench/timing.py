"""Timing of commands: medians, and ratios pair by pair within one run."""

from __future__ import annotations

import statistics
import subprocess
import time
from collections.abc import Callable, Sequence
from dataclasses import dataclass

SETTLE = 0.3  # seconds


@dataclass(frozen=True)
class Row:
    """One line of the table: two figures in ``unit``, their ratio, and the ratio to reach."""

    what: str
    docker: float
    ketch: float
    ratio: float
    limit: float
    unit: str

    @property
    def reached(self) -> bool:
        """Whether the ratio is within its limit."""
        return self.ratio <= self.limit


def seconds(command: Sequence[str], environment: dict[str, str]) -> float:
    """Wall time of one command, which must succeed."""
    started = time.perf_counter()
    done = subprocess.run(command, env=environment, capture_output=True, check=False)
    taken = time.perf_counter() - started
    if done.returncode:
        raise RuntimeError(f"{' '.join(command)}: {done.stderr.decode()[-500:]}")
    return taken


def paired(
    docker: Callable[[], float], ketch: Callable[[], float], rounds: int
) -> tuple[float, float, float]:
    """Run both in turn; (median of docker, median of ketch, median of ketch / docker).

    Each begins on a machine at rest: neither pays for the other's cleaning up.
    """

    def rested(measure: Callable[[], float]) -> float:
        time.sleep(SETTLE)
        return measure()

    docker(), ketch()
    pairs = [(rested(docker), rested(ketch)) for _ in range(rounds)]
    return (
        statistics.median(pair[0] for pair in pairs),
        statistics.median(pair[1] for pair in pairs),
        statistics.median(pair[1] / pair[0] for pair in pairs),
    )
