"""Health checks: probes of running containers, their outcome on record, and what follows from it.

Docker's rules: a first failure within the start period does not count; ``retries`` failures in a
row make it unhealthy; one success makes it healthy. A frozen container is not probed, and what a
probe found that the freezing interrupted does not count. Between two probes a container costs a
timer of the event loop.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ketch.engine.containers.health_probe import Prober
from ketch.engine.containers.health_values import Health, Healthcheck, HealthProbe
from ketch.engine.containers.record import ContainerRecord, Status

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.tasks import Background

_SECOND = 1_000_000_000
_INTERVAL, _START_INTERVAL, _RETRIES = 30 * _SECOND, 5 * _SECOND, 3
_KEPT = 5

Act = Callable[[str, str], Awaitable[None]]
"""What to do with an unhealthy container: its ID, and ``restart``, ``stop`` or ``kill``."""


def is_probed(check: Healthcheck | None) -> bool:
    """Whether there is anything to probe."""
    return check is not None and bool(check.test) and check.test[0] != "NONE"


def judged(health: Health, probe: HealthProbe, check: Healthcheck, *, within_start: bool) -> Health:
    """The health after a probe (pure)."""
    log = (*health.log, probe)[-_KEPT:]
    if probe.exit_code == 0:
        return Health(status="healthy", failing_streak=0, log=log)
    if within_start and health.status == "starting":
        return Health(status="starting", failing_streak=0, log=log)
    streak = health.failing_streak + 1
    failed = streak >= (check.retries or _RETRIES)
    return Health(status="unhealthy" if failed else health.status, failing_streak=streak, log=log)


def ended(health: Health | None) -> Health | None:
    """The health of a container whose run is over, as Docker has it; the log stays (pure)."""
    if health is None:
        return None
    return Health(status="unhealthy", failing_streak=health.failing_streak, log=health.log)


class HealthProbes:
    """Probes of all running containers; ``act`` is called for those that are unhealthy."""

    def __init__(self, parts: Parts, background: Background) -> None:
        self._parts = parts
        self._background = background
        self._prober = Prober(parts)
        self.act: Act | None = None

    def begin(self, record: ContainerRecord) -> None:
        """Probe a container until this run of it ends."""
        if is_probed(record.spec.healthcheck):
            self._background.spawn(self._probe_all(record.id, record.state.started_at))

    async def _probe_all(self, container_id: str, run: int) -> None:
        while (record := self._of_run(container_id, run)) is not None:
            check = record.spec.healthcheck
            assert check is not None
            await asyncio.sleep(_pause(record, check) / _SECOND)
            record = self._of_run(container_id, run)
            if record is None:
                return
            if record.state.status is Status.RUNNING:
                await self._probe(record, check)

    def _of_run(self, container_id: str, run: int) -> ContainerRecord | None:
        """The record, while it is still that run of the container."""
        record = self._parts.store.find(container_id)
        if record is None or not record.state.running or record.state.started_at != run:
            return None
        return record

    async def _probe(self, record: ContainerRecord, check: Healthcheck) -> None:
        live = self._parts.live[record.id]
        freezes = live.freezes
        probe = await self._prober.probe(record, check)
        now = self._of_run(record.id, record.state.started_at)
        if now is None or now.state.status is not Status.RUNNING or live.freezes != freezes:
            return
        health = self._keep(now, probe, check)
        action = now.spec.health_on_failure
        if health.status == "unhealthy" and action != "none" and self.act is not None:
            await self.act(now.id, action)

    def _keep(self, record: ContainerRecord, probe: HealthProbe, check: Healthcheck) -> Health:
        old = record.state.health or Health()
        within = probe.start - record.state.started_at < check.start_period
        health = judged(old, probe, check, within_start=within)
        record = self._parts.store.set_state(record.id, durable=False, health=health)
        if health.status != old.status:
            self._parts.publish(record, f"health_status: {health.status}")
        return health


def _pause(record: ContainerRecord, check: Healthcheck) -> int:
    """ns until the next probe."""
    starting = record.state.health is not None and record.state.health.status == "starting"
    if starting and time.time_ns() - record.state.started_at < check.start_period:
        return check.start_interval or _START_INTERVAL
    return check.interval or _INTERVAL
