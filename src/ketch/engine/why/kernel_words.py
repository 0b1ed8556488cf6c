"""What the kernel's log says of a container's end, put on record before the log forgets it."""

from __future__ import annotations

import asyncio
import signal as signals
import time
from typing import TYPE_CHECKING, Any

from ketch.engine.why import denied_calls, out_of_memory
from ketch.errors import KetchError
from ketch.linux import kmsg

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.containers.record import ContainerState


_TICK = 10_000_000  # ns; the audit log's clock is that coarse, and behind (HZ=100)
_EARLIER = 300_000_000  # ns; a program runs before its supervisor says so


def wanted(state: ContainerState) -> bool:
    """Whether the kernel may have said something that is not on record."""
    denied = state.watched_since or state.exit_signal == signals.SIGSYS
    return (state.oom_killed and state.out_of_memory is None) or bool(denied and not state.denied)


async def learn(parts: Parts, container_id: str, pid: int) -> None:
    """Look it up; no error when the log cannot be read. ``pid`` was the first process's."""
    try:
        lines = await asyncio.to_thread(kmsg.lines)
    except OSError:
        return
    record = parts.store.find(container_id)
    if record is None:
        return
    state, changes = record.state, dict[str, Any]()
    if state.oom_killed and state.out_of_memory is None:
        limit = record.spec.resources.memory
        changes["out_of_memory"] = out_of_memory.find(lines, record.id, limit)
    if state.watched_since or state.exit_signal == signals.SIGSYS:
        until = time.time_ns() if state.running else state.finished_at + 1_000_000
        try:
            changes["denied"] = denied_calls.find(lines, _began(state), until, pid)
        except KetchError:
            pass  # no libseccomp, so no names
    if any(changes.values()):
        parts.store.set_state(container_id, durable=False, **changes)


def _began(state: ContainerState) -> int:
    """The earliest instant of its run, by the log's clock (ns since the epoch)."""
    return state.watched_since - _TICK if state.watched_since else state.started_at - _EARLIER
