"""What happens when a container's process ends.

First the record (durable), then the answers to those who wait, then whatever may take its time:
network, ports, snapshot. Nothing here takes the container's lock: the recording is one step of the
event loop, and whoever holds the lock and waits for the exit (stop, remove) is woken by it.
"""

from __future__ import annotations

import asyncio
import logging
import time
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers import events as container_events
from ketch.engine.containers import restart
from ketch.engine.containers.health import HealthProbes, ended
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.wait import ExitResult
from ketch.engine.why import kernel_words
from ketch.engine.why.endings import PastExit
from ketch.errors import Conflict, KetchError, NotFound, NotModified
from ketch.linux.process import is_alive
from ketch.runtime import exit_file
from ketch.runtime.remote import Exit

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.containers.remove import Remover
    from ketch.engine.tasks import Background
    from ketch.runtime.remote import Shim
_log = logging.getLogger("ketch.engine.containers")
_EXITS_KEPT = 10
_UNKNOWN = -1  # the signal, when nobody saw what happened
_LOST = 137  # what SIGKILL gives; the real status went with the shim
_RETRY = 0.5  # seconds until an exit that could not be recorded is tried again
Start = Callable[[str], Awaitable[None]]


class Supervisor:
    """Watches shims and records exits; ``start`` is how a restart policy starts again."""

    def __init__(self, parts: Parts, remover: Remover, background: Background) -> None:
        self._parts = parts
        self._remover = remover
        self._background = background
        self.probes = HealthProbes(parts, background)
        self.start: Start | None = None

    def watch(self, container_id: str, shim: Shim) -> None:
        """Record the exit of a container's process when its shim reports it; probe its health."""
        shim.on_detached = lambda: self._detached(container_id)
        self._background.spawn(self._watch(container_id, shim))
        self.probes.begin(self._parts.store.by_id(container_id))

    def _detached(self, container_id: str) -> None:
        record = self._parts.store.find(container_id)
        if record is not None:
            self._parts.publish(record, "detach")

    async def _watch(self, container_id: str, shim: Shim) -> None:
        try:
            exit: Exit | None = await shim.exited()
        except KetchError:
            exit = await self._without_supervisor(container_id)
        if exit is not None:
            await self._recorded(container_id, exit)
        shim.reap()
        shim.close()

    async def _recorded(self, container_id: str, exit: Exit) -> None:
        """Tried until the database takes it: an exit off the record keeps everybody waiting."""
        while True:
            try:
                self.record_exit(container_id, exit)
                return
            except KetchError as error:
                _log.error("the exit of container %s waits: %s", container_id, error)
                await asyncio.sleep(_RETRY)

    async def _without_supervisor(self, container_id: str) -> Exit | None:
        record = self._parts.store.find(container_id)
        if record is None:
            return None
        exit = await unseen_exit(record)
        await asyncio.to_thread(container_cgroup.clear, record.state)  # as its supervisor would
        return exit

    def record_exit(self, container_id: str, exit: Exit) -> None:
        """Record, answer, then release; one step of the event loop up to the answers."""
        if container_id not in self._parts.store:
            return
        record = self._parts.store.by_id(container_id)
        live = self._parts.live[container_id]
        again = self._restarts(record, exit.status)
        with self._parts.events.telling():
            self._publish(record, exit, stopped=live.stops > 0)
            ended = self._put(record, exit, again)
        self._parts.waiters.exited(
            container_id, ExitResult(status=exit.status, error=ended.state.error)
        )
        live.ended()
        if kernel_words.wanted(ended.state):
            self._background.spawn(kernel_words.learn(self._parts, record.id, record.state.pid))
        if record.state.ports:
            self._release(record)  # whoever waits may want the same ports at once
        if again:
            self.schedule(ended)
        elif record.spec.auto_remove:
            self._background.spawn(self._remover.vanish(container_id))
        if not record.state.ports:
            self._release(record)

    def _restarts(self, record: ContainerRecord, exit_code: int) -> bool:
        sent = record.state.last_signal
        if self.start is not None and sent is not None and sent.revive:
            return True
        return self.start is not None and restart.wanted(
            record.spec.restart,
            exit_code=exit_code,
            restart_count=record.state.restart_count,
            stopped_by_user=self._parts.live[record.id].stopping or record.state.stopped_by_user,
        )

    def _put(self, record: ContainerRecord, exit: Exit, again: bool) -> ContainerRecord:
        return self._parts.store.set_state(
            record.id,
            status=Status.RESTARTING if again else Status.EXITED,
            pid=0,
            pid_start_time=0,
            exit_code=exit.status,
            exit_signal=max(0, exit.signal),
            unsupervised=exit.signal < 0,
            oom_killed=exit.oom,
            finished_at=exit.at,
            exits=_remembered(record, exit),
            health=ended(record.state.health),
            restart_count=record.state.restart_count + again,
            cgroup={},
            endpoints=(),
            ports=(),
        )

    def _publish(self, record: ContainerRecord, exit: Exit, *, stopped: bool) -> None:
        """What Docker says at an exit, in its order; ``record`` is that of the running one."""
        if exit.oom:
            self._parts.publish(record, "oom")
        container_events.left(self._parts.events, record)
        if stopped:
            self._parts.publish(record, "stop")
        seconds = max(0, exit.at - record.state.started_at) // 1_000_000_000
        self._parts.publish(record, "die", execDuration=str(seconds), exitCode=str(exit.status))

    def _release(self, record: ContainerRecord) -> None:
        """Give addresses, ports and volumes back; a next start waits for it, nobody else does."""
        live = self._parts.live[record.id]
        live.releasing = self._background.spawn(self._released(record.id))
        self._parts.pool.stir()

    async def _released(self, container_id: str) -> None:
        try:
            await self._parts.networks.disconnect(container_id)
        finally:
            await self._parts.volumes.mounts.release(container_id)

    def schedule(self, record: ContainerRecord) -> None:
        """Start again after the policy's delay."""
        live = self._parts.live[record.id]
        ran_for = (record.state.finished_at - record.state.started_at) / 1e9
        live.backoff = restart.next_delay(live.backoff, ran_for)
        live.restart = self._background.spawn(self._start_again(record.id, live.backoff))

    async def _start_again(self, container_id: str, delay: float) -> None:
        assert self.start is not None
        await asyncio.sleep(delay)
        try:
            await self.start(container_id)
        except (NotFound, NotModified, Conflict):
            return  # removed, started or paused by somebody else meanwhile
        except KetchError as error:
            self._parts.store.set_state(
                container_id, status=Status.EXITED, error=str(error), finished_at=time.time_ns()
            )


def _remembered(record: ContainerRecord, exit: Exit) -> tuple[PastExit, ...]:
    """The latest runs, with this one."""
    sent = record.state.last_signal
    run = PastExit(
        started_at=record.state.started_at,
        at=exit.at,
        exit_code=exit.status,
        signal=max(0, exit.signal),
        oom=exit.oom,
        cause=sent.by if sent is not None and sent.signal == exit.signal else "",
        pid=record.state.pid,
    )
    return (*record.state.exits, run)[-_EXITS_KEPT:]


async def unseen_exit(record: ContainerRecord) -> Exit | None:
    """How a container ended whose supervisor does not answer; None when it had not been started.

    Its exit file says so, if it was written; else whatever is left of the container is killed.
    """
    state = record.state
    said = exit_file.read(record.bundle)
    if said is not None and said["at"] > max(state.started_at, state.finished_at):
        return Exit(said["status"], said["signal"], said["oom"], said["at"])
    if not state.running:
        return None
    if is_alive(state.pid, state.pid_start_time):
        _log.warning("container %s lost its supervisor and is killed", record.id)
        await asyncio.to_thread(container_cgroup.of(state).kill)
    return Exit(_LOST, _UNKNOWN, False, time.time_ns())
