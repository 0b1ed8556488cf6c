"""Health checks and what they found, as values; durations in ns, instants in ns since the epoch."""

from __future__ import annotations

import msgspec


class Healthcheck(msgspec.Struct, frozen=True, kw_only=True):
    """How to probe a container; zero durations mean Docker's defaults (30 s, 30 s, 3 tries)."""

    # ("NONE",), ("CMD", …), ("CMD-SHELL", "…"); empty inherits. Of the engine's own probes (never
    # from an image): ("HTTP", target[, statuses]) and ("TCP", target), see ``health_spec``
    test: tuple[str, ...] = ()
    interval: int = 0
    timeout: int = 0
    start_period: int = 0
    start_interval: int = 0
    retries: int = 0


class HealthProbe(msgspec.Struct, frozen=True, kw_only=True):
    """One health probe that ended; ``output`` is capped at 4096 bytes."""

    start: int
    end: int
    exit_code: int
    output: str = ""


class Health(msgspec.Struct, frozen=True, kw_only=True):
    """Health as inspect shows it: ``starting``, ``healthy`` or ``unhealthy``; five probes kept."""

    status: str = "starting"
    failing_streak: int = 0
    log: tuple[HealthProbe, ...] = ()
