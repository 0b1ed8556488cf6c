"""Removing containers: by a user, by themselves (--rm), by prune.

The record goes first, in one transaction; what it stood for is released after it, and whatever a
crash leaves is swept at the next start because no record names it.
"""

from __future__ import annotations

import asyncio
import contextlib
import logging
import os
import time
from typing import TYPE_CHECKING

from ketch.engine.containers import links as container_links
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.wait import ExitResult
from ketch.engine.filters import Filters, instant, labels_match
from ketch.engine.prune_report import PruneReport
from ketch.errors import Conflict, KetchError, NotFound, os_reason

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.containers.stop import Stopper
    from ketch.engine.tasks import Background


_log = logging.getLogger("ketch.engine.containers")
_PAUSES = (1, 5, 25, 125)  # seconds between attempts to remove a container's files
_LOOK = 0.05  # seconds that a container stays after its death when somebody follows the events
_PATIENCE = 5.0  # seconds that an engine that closes waits for files to be removed


class Remover:
    """See the module's docstring."""

    def __init__(self, parts: Parts, background: Background) -> None:
        self._parts = parts
        self._background = background
        self._releasing: set[asyncio.Task[None]] = set()

    async def close(self) -> None:
        """Wait for what removed containers leave; a start would have to sweep it."""
        if self._releasing:
            await asyncio.wait(self._releasing, timeout=_PATIENCE)

    async def remove(
        self, ref: str, stopper: Stopper, *, force: bool, volumes: bool, link: bool
    ) -> None:
        """Remove for a user; raises ``Conflict`` when it runs and ``force`` is not given."""
        if link:
            container_links.remove(self._parts.store, ref)
            return
        async with self._parts.store.locked(ref) as record:
            self._check_state(record, ref, force)
            live = self._parts.live[record.id]
            live.cancel_restart()
            if record.state.running:
                await stopper.end(record)
            else:
                await self._looked_at(record)
            if record.id in self._parts.store:  # --rm may have been quicker
                await self._delete(self._parts.store.by_id(record.id), volumes=volumes)

    async def _looked_at(self, record: ContainerRecord) -> None:
        """Who follows the events looks at a container as soon as he hears that it died, and docker
        compose (2.40, ``up --watch``) crashes when it is not there: it stays for the moment that
        removing takes Docker anyway."""
        since = (time.time_ns() - record.state.finished_at) / 1e9
        if self._parts.events.followed and 0 <= since < _LOOK:
            await asyncio.sleep(_LOOK - since)

    def _check_state(self, record: ContainerRecord, ref: str, force: bool) -> None:
        status = record.state.status
        if force or not (record.state.running or status is Status.RESTARTING):
            return
        if status is Status.PAUSED:
            reason = "container is paused and must be unpaused first"
        else:
            reason = f"container is {status}: stop the container before removing or force remove"
        raise Conflict(f'cannot remove container "{ref}": {reason}')

    async def vanish(self, container_id: str) -> None:
        """The end of a container with --rm; its anonymous volumes go with it."""
        if container_id in self._parts.store:
            await self._delete(self._parts.store.by_id(container_id), volumes=True)

    async def _delete(self, record: ContainerRecord, *, volumes: bool) -> None:
        parts = self._parts
        with parts.telling(record, "destroy"):
            parts.store.delete(record.id)
        container_links.forget(parts.store, record.id)
        if volumes:
            await self._remove_volumes(record)
        parts.waiters.removed(record.id, ExitResult(status=record.state.exit_code))
        parts.live.forget(record.id)
        releasing = self._background.spawn(self._release(record))
        self._releasing.add(releasing)
        releasing.add_done_callback(self._releasing.discard)

    async def _remove_volumes(self, record: ContainerRecord) -> None:
        for point in record.held_points:
            if point.type == "volume" and point.anonymous:
                try:
                    await self._parts.volumes.remove(point.name)
                except (Conflict, NotFound):
                    continue  # another container took it over with --volumes-from

    async def _release(self, record: ContainerRecord) -> None:
        await self._parts.networks.forget(record)
        for pause in _PAUSES:
            try:
                if record.spec.runtime:
                    forget = self._parts.runtimes.forget
                    await asyncio.to_thread(forget, record.id, record.spec.runtime)
                self._release_files(record.id)
                break
            except OSError as error:  # no descriptor, no memory: the next start would find it
                _log.warning("container %s left files behind: %s", record.id, os_reason(error))
                await asyncio.sleep(pause)
        self._parts.images.empty_trash_soon()

    def _release_files(self, container_id: str) -> None:
        """Into the trash: two renames, for which no thread is worth its while."""
        self._parts.snapshots.remove(container_id)
        self._parts.snapshots.discard(self._parts.config.bundle(container_id))
        with contextlib.suppress(FileNotFoundError):  # there when the shim was killed
            os.unlink(self._parts.config.shim_socket(container_id))

    async def prune(self, filters: Filters, stopper: Stopper) -> PruneReport:
        """Remove every container that does not run."""
        deleted, reclaimed = [], 0
        for record in self._parts.store:
            if not _prunable(record, filters):
                continue
            size = await asyncio.to_thread(self._size, record.id)
            try:
                await self.remove(record.id, stopper, force=False, volumes=False, link=False)
            except KetchError:
                continue  # started or removed by somebody else meanwhile
            deleted.append(record.id)
            reclaimed += size
        self._parts.events.pruned("container", reclaimed)
        return PruneReport(deleted=tuple(deleted), reclaimed=reclaimed)

    def _size(self, container_id: str) -> int:
        try:
            return self._parts.snapshots.usage(container_id).size
        except (KetchError, OSError):
            return 0


def _prunable(record: ContainerRecord, filters: Filters) -> bool:
    if record.state.status not in (Status.CREATED, Status.EXITED, Status.DEAD):
        return False
    if not labels_match(record.spec.labels, filters.get("label", ())):
        return False
    if any(labels_match(record.spec.labels, (label,)) for label in filters.get("label!", ())):
        return False
    return all(record.created_at < instant(text) for text in filters.get("until", ()))
