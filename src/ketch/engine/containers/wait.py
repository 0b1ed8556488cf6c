"""Waiting for containers: registered at once, answered after the record is durable.

A client of Docker's API waits *before* it starts a container, and starts it only when the headers
of the wait have arrived. So ``Waiters.add`` registers synchronously and the result comes later.
"""

from __future__ import annotations

import asyncio
from enum import StrEnum

import msgspec

from ketch.engine.containers.record import ContainerRecord, Status


class WaitCondition(StrEnum):
    """When ``wait`` answers."""

    NOT_RUNNING = "not-running"
    NEXT_EXIT = "next-exit"
    REMOVED = "removed"


class ExitResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``wait`` answers."""

    status: int
    error: str = ""


class Waiter:
    """One client's wait; ``result`` may be awaited once, ``cancel`` drops it."""

    __slots__ = ("condition", "future")

    def __init__(self, condition: WaitCondition) -> None:
        self.condition = condition
        self.future: asyncio.Future[ExitResult] = asyncio.get_running_loop().create_future()

    async def result(self) -> ExitResult:
        """The exit status, as soon as the condition holds."""
        return await self.future

    def cancel(self) -> None:
        """The client went away."""
        self.future.cancel()

    def resolve(self, result: ExitResult) -> None:
        """Answer, unless answered or dropped before."""
        if not self.future.done():
            self.future.set_result(result)


class Waiters:
    """All waits, by container ID."""

    def __init__(self) -> None:
        self._waiters: dict[str, list[Waiter]] = {}

    def add(self, record: ContainerRecord, condition: WaitCondition) -> Waiter:
        """Register; a ``not-running`` wait for a container that is not running is answered now."""
        waiter = Waiter(condition)
        if condition is WaitCondition.NOT_RUNNING and not _alive(record):
            state = record.state
            waiter.resolve(ExitResult(status=state.exit_code, error=state.error))
            return waiter
        waiters = self._waiters.setdefault(record.id, [])
        waiters.append(waiter)
        waiter.future.add_done_callback(lambda _: self._forget(record.id, waiter))
        return waiter

    def exited(self, container_id: str, result: ExitResult) -> None:
        """The container's process ended and the record says so."""
        for waiter in tuple(self._waiters.get(container_id, ())):
            if waiter.condition is not WaitCondition.REMOVED:
                waiter.resolve(result)

    def removed(self, container_id: str, result: ExitResult) -> None:
        """The container is gone: every wait ends."""
        for waiter in tuple(self._waiters.get(container_id, ())):
            waiter.resolve(result)

    def _forget(self, container_id: str, waiter: Waiter) -> None:
        waiters = self._waiters.get(container_id)
        if waiters and waiter in waiters:
            waiters.remove(waiter)
            if not waiters:
                del self._waiters[container_id]


def _alive(record: ContainerRecord) -> bool:
    return record.state.running or record.state.status is Status.RESTARTING
