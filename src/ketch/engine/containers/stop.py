"""Ending, freezing and signalling containers.

Signals are sent without the container's lock, so that a kill gets through while a stop waits. What
they lead to is recorded by ``Supervisor``; here one only waits for that.
"""

from __future__ import annotations

import asyncio
import logging
import signal as signals
import time
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.caller import CALLER
from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers import signals as container_signals
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.why.endings import SentSignal
from ketch.errors import Conflict, InvalidParameter, KetchError, NotFound, NotModified, Unavailable

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts

_log = logging.getLogger("ketch.engine.containers")
_KILL_PATIENCE = 10.0  # seconds from SIGKILL to a recorded exit
_THAW_EVERY = 0.5  # seconds


class Stopper:
    """See the module's docstring."""

    def __init__(self, parts: Parts) -> None:
        self._parts = parts

    async def stop(self, ref: str, timeout: int | None, signal: str, *, by: str = "stop") -> None:
        """Signal, wait, kill; raises ``NotModified`` when it does not run."""
        record = self._parts.store.resolve(ref)
        try:
            number = container_signals.parse(signal or record.spec.stop_signal or "TERM")
        except InvalidParameter as error:
            raise InvalidParameter(f"cannot stop container: {ref}: {error}") from None
        if record.state.status is Status.RESTARTING:
            self._give_up_restart(record)
            return
        if not record.state.running:
            raise NotModified(f"container {record.id} is not running")
        self._mark_stopped(record, number, by)
        live = self._parts.live[record.id]
        live.stops += 1
        try:
            await self._end_in(record, number, self._patience(record, timeout))
        finally:
            live.stops -= 1

    def _patience(self, record: ContainerRecord, timeout: int | None) -> float | None:
        seconds = record.spec.stop_timeout if timeout is None else timeout
        if seconds is None:
            seconds = self._parts.config.stop_timeout
        return None if seconds < 0 else float(seconds)

    def _give_up_restart(self, record: ContainerRecord) -> None:
        self._parts.live[record.id].cancel_restart()
        self._parts.store.set_state(record.id, status=Status.EXITED, stopped_by_user=True)
        self._parts.publish(record, "stop")

    async def act_on_health(self, container_id: str, action: str) -> None:
        """``kill`` leaves the rest to the restart policy, ``restart`` does not ask it, and after
        ``stop`` it stays stopped. The wish is on record before the signal is sent."""
        record = self._parts.store.by_id(container_id)
        if self._parts.live[container_id].stops:
            return  # somebody is ending it, and who wants that outranks its health
        kills = action == "kill"
        number = signals.SIGKILL if kills else _stop_signal(record)
        if action == "stop":
            self._parts.live[record.id].stopping = True
        sent = SentSignal(signal=number, by="health", at=time.time_ns(), revive=action == "restart")
        stopped = action == "stop" or record.state.stopped_by_user
        self._parts.store.set_state(record.id, last_signal=sent, stopped_by_user=stopped)
        live = self._parts.live[record.id]
        exited = live.exited
        live.stops += action == "stop"
        try:
            if kills:
                await self._signal(record, number)
                await _killed(record, exited)
            else:
                await self._end_in(record, number, self._patience(record, None))
        except KetchError as error:
            _log.error("unhealthy container %s: %s", record.id, error)
        finally:
            live.stops -= action == "stop"

    async def _end_in(self, record: ContainerRecord, number: int, patience: float | None) -> None:
        """Send the signal; SIGKILL when it has not ended ``patience`` seconds later."""
        exited = self._parts.live[record.id].exited
        await self._signal(record, number)
        if not await _within(exited, patience):
            self._note_escalation(record.id)
            await self._signal(record, signals.SIGKILL)
            await _killed(record, exited)

    def _mark_stopped(self, record: ContainerRecord, number: int, by: str) -> None:
        self._parts.live[record.id].stopping = True
        self._parts.store.set_state(
            record.id,
            durable=not record.state.stopped_by_user,
            stopped_by_user=True,
            last_signal=_sent(number, by),
        )

    def _note_escalation(self, container_id: str) -> None:
        record = self._parts.store.find(container_id)
        if record is None or record.state.last_signal is None:
            return
        sent = msgspec.structs.replace(
            record.state.last_signal, ignored=record.state.last_signal.signal, signal=9
        )
        self._parts.store.set_state(container_id, durable=False, last_signal=sent)

    async def kill(self, ref: str, signal: str) -> None:
        """Send a signal; with KILL, wait for the exit."""
        try:
            record = self._parts.store.resolve(ref)
            number = container_signals.parse(signal or "KILL")
        except (InvalidParameter, NotFound) as error:
            raise type(error)(f"cannot kill container: {ref}: {error}") from None
        if record.state.status is Status.RESTARTING:
            self._give_up_restart(record)
            return
        if not record.state.running:
            raise Conflict(f"cannot kill container: {ref}: container {record.id} is not running")
        if number == signals.SIGKILL or number == _stop_signal(record):
            self._mark_stopped(record, number, "kill")
        else:
            before = record.state.last_signal
            sent = _sent(number, "kill", revive=before is not None and before.revive)
            self._parts.store.set_state(record.id, durable=False, last_signal=sent)
        exited = self._parts.live[record.id].exited
        await self._signal(record, number)
        if number == signals.SIGKILL:
            await _killed(record, exited)

    async def end(self, record: ContainerRecord) -> None:
        """SIGKILL and wait until the exit is recorded; without error if it has ended already."""
        self._mark_stopped(record, signals.SIGKILL, "remove")
        exited = self._parts.live[record.id].exited
        await self._signal(record, signals.SIGKILL)
        await _killed(record, exited)

    async def _signal(self, record: ContainerRecord, number: int) -> None:
        shim = self._parts.live[record.id].shim
        if shim is None:
            return
        self._parts.publish(record, "kill", signal=str(int(number)))
        try:
            await shim.signal(number)
        except (NotFound, Unavailable):
            return  # it has ended; the exit is about to be recorded
        if record.state.status is Status.PAUSED and number == signals.SIGKILL:
            await _thaw(record)  # which may end it, and its group, before the kernel has answered

    async def pause(self, ref: str) -> None:
        """Freeze; raises ``Conflict`` when it does not run or is frozen."""
        async with self._parts.store.locked(ref) as record:
            if record.state.status is Status.PAUSED:
                raise Conflict(f"container {record.id} is already paused")
            if record.state.status is not Status.RUNNING:
                raise Conflict(f"container {record.id} is not running")
            await container_cgroup.freeze(record.state, True)
            self._record_frozen(record, Status.PAUSED, "pause")

    async def unpause(self, ref: str) -> None:
        """Thaw; raises ``Conflict`` when it is not frozen (Docker calls it a fault of its own)."""
        async with self._parts.store.locked(ref) as record:
            if record.state.status is not Status.PAUSED:
                raise Conflict(f"Container {record.id} is not paused")
            await container_cgroup.freeze(record.state, False)
            self._record_frozen(record, Status.RUNNING, "unpause")

    def _record_frozen(self, record: ContainerRecord, status: Status, action: str) -> None:
        try:
            now = self._parts.store.by_id(record.id)
        except NotFound:
            return
        self._parts.live[record.id].freezes += status is Status.PAUSED
        if now.state.running:  # it may have ended meanwhile
            with self._parts.telling(record, action):
                self._parts.store.set_state(record.id, status=status)


def _sent(number: int, by: str, *, revive: bool = False) -> SentSignal:
    now, client = time.time_ns(), CALLER.get()
    return SentSignal(signal=int(number), by=by, at=now, client=client, revive=revive)


def _stop_signal(record: ContainerRecord) -> int:
    return container_signals.parse(record.spec.stop_signal or "TERM")


async def _within(exited: asyncio.Future[None] | None, patience: float | None) -> bool:
    """Whether the exit was recorded within ``patience`` seconds (None: wait for ever)."""
    if exited is None:
        return True
    done, _ = await asyncio.wait((exited,), timeout=patience)
    return bool(done)


async def _thaw(record: ContainerRecord) -> None:
    """A pause that was under way when the signal came holds back the death of the processes."""
    try:
        await container_cgroup.freeze(record.state, False)
    except KetchError:
        pass  # the group is gone, or has no freezer


async def _killed(record: ContainerRecord, exited: asyncio.Future[None] | None) -> None:
    for _ in range(round(_KILL_PATIENCE / _THAW_EVERY)):
        if await _within(exited, _THAW_EVERY):
            return
        await _thaw(record)
    if not await _within(exited, 0):
        raise KetchError(
            f"container {record.id} did not end within {_KILL_PATIENCE:.0f} seconds of SIGKILL; "
            "a process of it may hang in the kernel"
        )
