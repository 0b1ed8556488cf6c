"""Why a container stopped or will not start: what is on record, and a look at what is there now."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from ketch.engine.containers.logs import LogOptions, Logs
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.why import denied as why_denied
from ketch.engine.why import exit as why_exit
from ketch.engine.why import host as why_host
from ketch.engine.why import kernel_words
from ketch.engine.why import program as why_program
from ketch.engine.why.values import Explanation, Finding
from ketch.errors import Conflict, KetchError, StartFailed, Unsupported

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.containers.start import Starter

_LINES = 20
_LONGEST_LINE = 1000
_LOOK_AT_PROGRAM = (126, 127)  # exit codes that shells and the dynamic loader give


class Why:
    """See the module's docstring."""

    def __init__(self, parts: Parts, logs: Logs, starter: Starter) -> None:
        self._parts = parts
        self._logs = logs
        self._starter = starter

    async def rerun(self, ref: str, seconds: float) -> Explanation:
        """Start it with denied system calls written down; explain after its end, or ``seconds``.

        Raises ``Conflict`` when it runs, ``Unsupported`` for other runtimes than ketch's own.
        """
        record = self._parts.store.resolve(ref)
        if record.state.running or record.state.status is Status.RESTARTING:
            raise Conflict(f"container {record.id} is running: stop it first")
        if self._parts.runtimes.wire(record.spec.runtime) is not None:
            raise Unsupported(f"a rerun with the runtime {record.spec.runtime} is not supported")
        if record.spec.auto_remove:
            raise Conflict(f"container {record.id} would be removed at its end (--rm)")
        try:
            await self._starter.start(record.id, watched=True)
        except StartFailed:
            return await self.explain(record.id)
        exited = self._parts.live[record.id].exited
        if exited is not None:
            await asyncio.wait((exited,), timeout=seconds)
        return await self.explain(record.id)

    async def explain(self, ref: str) -> Explanation:
        """Raises ``NotFound``."""
        record = self._parts.store.resolve(ref)
        if kernel_words.wanted(record.state):
            pid = record.state.pid or (record.state.exits[-1].pid if record.state.exits else 0)
            await kernel_words.learn(self._parts, record.id, pid)
            record = self._parts.store.by_id(record.id)
        log = await self._tail(record)
        found = why_exit.findings(record, time.time_ns())
        if not record.state.running:
            found += await self._looked_at(record, log)
        state = record.state
        return Explanation(
            container_id=record.id,
            name=record.name,
            status=state.status.value,
            exit_code=state.exit_code,
            signal=state.exit_signal,
            findings=_once(found),
            exits=state.exits,
            health=state.health,
            log=log,
        )

    async def _looked_at(self, record: ContainerRecord, log: tuple[str, ...]) -> list[Finding]:
        state = record.state
        failed = bool(state.error)
        if not failed and (not state.exit_code or state.status is Status.CREATED):
            return []
        found: list[Finding] = []
        if failed:
            others = tuple(self._parts.store)
            root = self._parts.config.data_root
            found += await asyncio.to_thread(why_host.findings, record, others, root)
        if _is_about_program(record):
            found += await why_program.findings(self._parts, record)
        shell = not failed and state.exit_code in _LOOK_AT_PROGRAM
        command = why_denied.failed_command(log, state.exit_code) if shell else ""
        if command:
            found += await why_program.findings(self._parts, record, command)
        if not failed and not state.exit_signal:
            found += why_denied.findings(record, log)
            found += await asyncio.to_thread(why_host.clash_inside, record, log)
        return found

    async def _tail(self, record: ContainerRecord) -> tuple[str, ...]:
        """The last lines of its log; none when its driver keeps none that can be read."""
        if not record.state.started_at:
            return ()
        lines: deque[str] = deque(maxlen=_LINES)
        try:
            async for batch in await self._logs.read(record.id, LogOptions(tail=_LINES)):
                lines.extend(entry.data[:_LONGEST_LINE].decode(errors="replace") for entry in batch)
        except (KetchError, OSError):
            return ()
        return tuple(line.rstrip("\r\n") for line in lines)


def _is_about_program(record: ContainerRecord) -> bool:
    state = record.state
    if not state.error:
        return state.exit_code in _LOOK_AT_PROGRAM
    return "exec" in state.error or state.exit_code in _LOOK_AT_PROGRAM


def _once(found: list[Finding]) -> tuple[Finding, ...]:
    return tuple({finding.text: finding for finding in found}.values())
