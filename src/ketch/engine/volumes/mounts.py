"""Which volumes have a file system of their own mounted, and for whom.

Mounted when the first container that uses it starts, unmounted after the last. Who holds a mount
is in memory only: after a crash the daemon holds for the containers that still run, and unmounts
what is left (``settle``).
"""

from __future__ import annotations

import asyncio
import logging
import os
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Mapping
from contextlib import asynccontextmanager
from typing import Any

import msgspec

from ketch.engine.containers.record import MountPoint
from ketch.engine.volumes.values import VolumeRecord
from ketch.errors import KetchError, Unavailable
from ketch.volumes.mountinfo import mounted_below
from ketch.volumes.options import FileSystem, parse

Work = Callable[[str, dict[str, Any], list[int]], Awaitable[object]]
"""Run a task with arguments and fds in a worker; cancelling kills it."""

_PATIENCE = 30.0  # seconds for a server to answer
_log = logging.getLogger("ketch.engine.volumes")


async def no_work(task: str, args: dict[str, Any], fds: list[int]) -> object:
    """For an engine without workers."""
    raise Unavailable(f"{task}: there is no launcher")


class VolumeMounts:
    """``records`` are the volumes by name, kept by their owner."""

    def __init__(self, records: Mapping[str, VolumeRecord], work: Work) -> None:
        self._records = records
        self._work = work
        self._holders: dict[str, set[str]] = {}
        self._locks: dict[str, asyncio.Lock] = {}

    def _wanted(self, points: Iterable[MountPoint]) -> dict[str, FileSystem]:
        """File systems among the mount points, by volume."""
        found = {}
        for point in points:
            record = self._records.get(point.name) if point.type == "volume" else None
            if record is not None and record.options:
                mounted = parse(record.options).mounted
                if mounted is not None:
                    found[record.name] = mounted
        return found

    async def hold(self, holder: str, points: tuple[MountPoint, ...]) -> tuple[MountPoint, ...]:
        """Mount what the mount points need, until ``release`` of the same holder; those points.

        Raises ``KetchError`` in Docker's words; then nothing is held.
        """
        wanted = self._wanted(points)
        if not wanted:
            return ()
        try:
            for name, system in wanted.items():
                async with self._locks.setdefault(name, asyncio.Lock()):
                    if not self._holders.get(name):
                        await self._mount(self._records[name].mountpoint, system)
                    self._holders.setdefault(name, set()).add(holder)
        except BaseException:
            await asyncio.shield(self.release(holder))
            raise
        return tuple(point for point in points if point.name in wanted)

    async def release(self, holder: str) -> None:
        """Unmount what nobody else holds."""
        if not self._holders:
            return
        for name in [name for name, holders in self._holders.items() if holder in holders]:
            async with self._locks.setdefault(name, asyncio.Lock()):
                self._holders[name].discard(holder)
                if not self._holders[name]:
                    del self._holders[name]
                    await self._unmounted(name)

    @asynccontextmanager
    async def held(self, holder: str, points: tuple[MountPoint, ...]) -> AsyncIterator[None]:
        """``hold`` for as long as the block lasts."""
        await self.hold(holder, points)
        try:
            yield
        finally:
            await asyncio.shield(self.release(holder))

    async def settle(self, running: Mapping[str, Iterable[MountPoint]]) -> None:
        """After a start of the daemon: hold for what runs (ID → mount points), unmount the rest."""
        for container_id, points in running.items():
            for name in self._wanted(points):
                self._holders.setdefault(name, set()).add(container_id)
        mounted = mounted_below("")
        for record in self._records.values():
            if record.name not in self._holders and record.mountpoint in mounted:
                await self._unmounted(record.name)

    async def _mount(self, target: str, system: FileSystem) -> None:
        if target in mounted_below(os.path.dirname(target)):
            return  # left by a daemon that was killed in between
        args = {**msgspec.structs.asdict(system), "target": target}
        try:
            await self._in_worker("mount", args)
        except TimeoutError:
            raise Unavailable(
                f"failed to mount local volume: mount {system.device}:{target}: no answer within"
                f" {_PATIENCE:.0f} seconds"
            ) from None

    async def _unmounted(self, name: str) -> None:
        record = self._records.get(name)
        if record is None:
            return
        try:
            await self._in_worker("unmount", {"target": record.mountpoint})
        except (KetchError, TimeoutError, OSError) as error:
            _log.warning("volume %s stays mounted: %s", name, error)

    async def _in_worker(self, task: str, args: dict[str, Any]) -> None:
        """In this process's mount namespace: the launcher's workers have another one."""
        namespace = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
        try:
            async with asyncio.timeout(_PATIENCE):
                await self._work(f"ketch.engine.volumes.mounting:{task}", args, [namespace])
        finally:
            os.close(namespace)
