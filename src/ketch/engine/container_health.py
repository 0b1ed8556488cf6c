"""Health checks: probes run in the container, their outcome kept in its record.

Docker's rules: a first failure within the start period does not count; ``retries`` failures in a
row make it unhealthy; one success makes it healthy. Probes are exec processes that no client sees.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
import time
from typing import TYPE_CHECKING

from ketch.engine.container_attach import attach_wire
from ketch.engine.container_place import hostname
from ketch.engine.exec_process import exec_wire
from ketch.engine.model import (
    AttachOptions,
    ContainerRecord,
    ExecRecord,
    ExecSpec,
    Health,
    Healthcheck,
    HealthProbe,
    Status,
)
from ketch.errors import KetchError, StartFailed
from ketch.runtime.messages import Exec

if TYPE_CHECKING:
    from ketch.engine.container_parts import Parts
    from ketch.engine.tasks import Background

_SECOND = 1_000_000_000
_INTERVAL, _TIMEOUT, _START_INTERVAL, _RETRIES = 30 * _SECOND, 30 * _SECOND, 5 * _SECOND, 3
_KEPT, _OUTPUT = 5, 4096


def is_probed(check: Healthcheck | None) -> bool:
    """Whether there is anything to probe."""
    return check is not None and bool(check.test) and check.test[0] != "NONE"


def command(check: Healthcheck, shell: tuple[str, ...]) -> tuple[str, ...]:
    """The probe's command."""
    kind, *words = check.test
    if kind == "CMD-SHELL":
        return (*(shell or ("/bin/sh", "-c")), *words)
    return tuple(words)


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


class HealthProbes:
    """Probes of all running containers."""

    def __init__(self, parts: Parts, background: Background) -> None:
        self._parts = parts
        self._background = background

    def begin(self, record: ContainerRecord) -> None:
        """Probe a container until this run of it ends."""
        if is_probed(record.spec.healthcheck):
            self._background.spawn(self._probe_all(record.id, record.state.started_at))

    async def _probe_all(self, container_id: str, run: int) -> None:
        while True:
            record = self._parts.store.find(container_id)
            if record is None or not self._is_run(record, run):
                return
            check = record.spec.healthcheck
            assert check is not None
            await asyncio.sleep(_pause(record, check) / _SECOND)
            record = self._parts.store.find(container_id)
            if record is None or not self._is_run(record, run):
                return
            if record.state.status is Status.RUNNING:
                probe = await self._probe(record, check)
                self._keep(container_id, run, probe, check)

    def _is_run(self, record: ContainerRecord, run: int) -> bool:
        return record.state.running and record.state.started_at == run

    def _keep(self, container_id: str, run: int, probe: HealthProbe, check: Healthcheck) -> None:
        record = self._parts.store.find(container_id)
        if record is None or not self._is_run(record, run):
            return
        old = record.state.health or Health()
        within = probe.start - run < check.start_period
        health = judged(old, probe, check, within_start=within)
        record = self._parts.store.set_state(container_id, health=health)
        if health.status != old.status:
            self._parts.publish(record, f"health_status: {health.status}")

    async def _probe(self, record: ContainerRecord, check: Healthcheck) -> HealthProbe:
        start = time.time_ns()
        try:
            code, output = await self._run(record, check)
        except StartFailed as error:
            code, output = error.exit_code, str(error)
        except KetchError as error:
            code, output = -1, str(error)
        return HealthProbe(start=start, end=time.time_ns(), exit_code=code, output=output)

    async def _run(self, record: ContainerRecord, check: Healthcheck) -> tuple[int, str]:
        wire = self._wire(record, check)
        ours, theirs = socket.socketpair()
        with ours, theirs:
            client = AttachOptions(sock=theirs, stdout=True, stderr=True, framed=False)
            shim = await self._parts.launcher.exec(wire, [(theirs, attach_wire(client))])
            theirs.close()
            reading = asyncio.ensure_future(_read(ours))
            try:
                await shim.started()
                seconds = (check.timeout or _TIMEOUT) / _SECOND
                exit = await asyncio.wait_for(shim.exited(), seconds)
                return exit.status, (await reading).decode(errors="replace")
            except TimeoutError:
                await shim.signal(9)
                return -1, f"Health check exceeded timeout ({seconds:g}s)"
            finally:
                reading.cancel()
                shim.reap()
                shim.close()

    def _wire(self, record: ContainerRecord, check: Healthcheck) -> Exec:
        spec = ExecSpec(cmd=command(check, record.spec.shell), env=())
        probe = ExecRecord(id=secrets.token_hex(32), container_id=record.id, spec=spec)
        return exec_wire(
            probe,
            record,
            hostname=hostname(self._parts, record),
            seccomp=self._parts.filters.of(record.spec),
            socket=self._parts.config.shim_socket(probe.id),
        )


def _pause(record: ContainerRecord, check: Healthcheck) -> int:
    """ns until the next probe."""
    starting = record.state.health is not None and record.state.health.status == "starting"
    if starting and time.time_ns() - record.state.started_at < check.start_period:
        return check.start_interval or _START_INTERVAL
    return check.interval or _INTERVAL


async def _read(sock: socket.socket) -> bytes:
    """What the probe says, up to the limit; the rest is read and dropped."""
    loop = asyncio.get_running_loop()
    sock.setblocking(False)
    kept = b""
    while chunk := await loop.sock_recv(sock, 65536):
        kept = (kept + chunk)[:_OUTPUT]
    return kept
