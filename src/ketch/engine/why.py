"""Why a container stopped or will not start: what is on record, and a look at what is there now."""

from __future__ import annotations

import asyncio
import time
from collections import deque
from typing import TYPE_CHECKING

from ketch.engine import why_denied, why_exit, why_host, why_program
from ketch.engine.container_logs import Logs
from ketch.engine.model import ContainerRecord, LogOptions, Status
from ketch.engine.why_values import Explanation, Finding
from ketch.errors import KetchError

if TYPE_CHECKING:
    from ketch.engine.container_parts import Parts

_LINES = 20
_LONGEST_LINE = 1000
_LOOK_AT_PROGRAM = (126, 127)  # exit codes that shells and the dynamic loader give


class Why:
    """See the module's docstring."""

    def __init__(self, parts: Parts, logs: Logs) -> None:
        self._parts = parts
        self._logs = logs

    async def explain(self, ref: str) -> Explanation:
        """Raises ``NotFound``."""
        record = self._parts.store.resolve(ref)
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
        command = why_denied.missing_command(log) if state.exit_code == 127 else ""
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
