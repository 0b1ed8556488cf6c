"""Containers: the public face of their life cycle.

Each method is one verb of Docker's; the work is done by the modules named ``container_…``.
Operations on one container are serialised by its lock, so that a storm of starts, stops and
removes on one name gives some linear history of success and ``Conflict``.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import suppress
from typing import TYPE_CHECKING

from ketch.engine.containers import links as container_links
from ketch.engine.containers.attach import Attacher
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.commit import Committer
from ketch.engine.containers.create import Creator
from ketch.engine.containers.exit import Supervisor
from ketch.engine.containers.files import ArchivePut, Change, Files, PathStat
from ketch.engine.containers.list import ContainerSizes, Lister, ListOptions
from ketch.engine.containers.logs import LogEntry, LogOptions, Logs
from ketch.engine.containers.record import ContainerRecord
from ketch.engine.containers.remove import Remover
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.containers.start import Starter
from ketch.engine.containers.stats_sampler import Sample
from ketch.engine.containers.stop import Stopper
from ketch.engine.containers.top import TopTable
from ketch.engine.containers.update import Updater
from ketch.engine.containers.update_values import Updated, UpdateOptions
from ketch.engine.containers.wait import WaitCondition, Waiter
from ketch.engine.filters import Filters
from ketch.engine.images.values import CommitOptions
from ketch.engine.prune_report import PruneReport
from ketch.engine.why.values import Explanation
from ketch.engine.why.why import Why
from ketch.errors import NotModified

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.spec.validate import Facts
    from ketch.engine.tasks import Background

_REVIVAL = 10.0  # seconds
Records = list[ContainerRecord]
Changes = list[Change]


class Containers:
    """See the module's docstring."""

    def __init__(self, parts: Parts, background: Background, facts: Facts) -> None:
        self._parts = parts
        self._remover = Remover(parts, background)
        self.supervisor = Supervisor(parts, self._remover, background)
        self._starter = Starter(parts, self.supervisor, self._remover)
        self.supervisor.start = self._starter.start_again
        self._creator = Creator(parts, facts)
        self._stopper = Stopper(parts)
        self.supervisor.probes.act = self._stopper.act_on_health
        self._updater = Updater(parts, facts)
        self._logs = Logs(parts)
        self._attacher = Attacher(parts, self._logs)
        self._why = Why(parts, self._logs, self._starter)
        self._lister = Lister(parts)
        self._files = Files(parts)
        self._committer = Committer(parts)

    async def close(self) -> None:
        """Wait until what removed containers leave is gone."""
        await self._remover.close()

    # life cycle

    async def create(self, spec: ContainerSpec, name: str = "") -> tuple[str, tuple[str, ...]]:
        """Make a container of an image; returns its ID and warnings once the record is durable.

        Raises ``NotFound`` (image), ``Conflict`` (name), ``InvalidParameter``, ``Unsupported``.
        """
        return await self._creator.create(spec, name)

    async def start(self, ref: str) -> None:
        """Start; raises ``NotModified`` when it runs, ``StartFailed``, ``Conflict`` if paused."""
        await self._starter.start(ref)

    async def stop(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        """Signal, wait ``timeout`` seconds (None: the container's, -1: for ever), then kill.

        Raises ``NotModified`` when it does not run.
        """
        await self._stopper.stop(ref, timeout, signal)

    async def restart(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        """Stop if it runs, and start."""
        id = self._parts.store.resolve(ref).id
        with self._parts.live[id].revived():
            with suppress(NotModified):
                await self._stopper.stop(id, timeout, signal, by="restart")
            record = self._parts.store.resolve(id)
            with suppress(NotModified):  # somebody else was quicker
                await self._starter.start(id)
        self._parts.publish(record, "restart")

    async def kill(self, ref: str, signal: str = "") -> None:
        """Send a signal (name or number; empty = KILL); with KILL, returns after the exit."""
        await self._stopper.kill(ref, signal)

    async def pause(self, ref: str) -> None:
        """Freeze all processes."""
        await self._stopper.pause(ref)

    async def unpause(self, ref: str) -> None:
        """Thaw."""
        await self._stopper.unpause(ref)

    async def why(self, ref: str) -> Explanation:
        """Why it stopped or will not start."""
        return await self._why.explain(ref)

    async def rerun(self, ref: str, seconds: float) -> Explanation:
        """Start it watched, and explain after its end or ``seconds``."""
        return await self._why.rerun(ref, seconds)

    async def rename(self, ref: str, name: str) -> None:
        """Give another name."""
        await self._updater.rename(ref, name)

    async def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """Delete; ``force`` kills first, ``volumes`` takes anonymous volumes along."""
        await self._remover.remove(ref, self._stopper, force=force, volumes=volumes, link=link)

    async def wait(self, ref: str, condition: WaitCondition = WaitCondition.NOT_RUNNING) -> Waiter:
        """Register a wait; returns at once, ``await waiter.result()`` answers later."""
        return self._parts.waiters.add(self._parts.store.resolve(ref), condition)

    async def update(self, ref: str, options: UpdateOptions) -> Updated:
        """Change limits, restart policy, ports and labels live, environment and mounts at the
        next start."""
        return await self._updater.update(ref, options)

    async def prune(self, filters: Filters) -> PruneReport:
        """Remove every container that does not run.

        Filters: ``label``, ``label!``, ``until`` (ns since the epoch, as decimal text).
        """
        return await self._remover.prune(filters, self._stopper)

    # stdio

    async def check_attach(self, ref: str) -> None:
        """Raise what ``attach`` would raise, before the connection is hijacked."""
        self._attacher.check(ref)

    async def attach(self, ref: str, options: AttachOptions) -> None:
        """Connect a client's socket to stdio; before start it is held and connected by it.

        The engine owns ``options.sock`` from here on, also when this raises.
        """
        await self._attacher.attach(ref, options)

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set the size of the terminal in characters."""
        await self._attacher.resize(ref, height, width)

    async def logs(self, ref: str, options: LogOptions) -> AsyncIterator[list[LogEntry]]:
        """The log; awaiting it checks, iterating it reads.

        Raises ``Unsupported`` when the driver can't be read.
        """
        return await self._logs.read(ref, options)

    # looking

    def records(self) -> Records:
        """Every record, in no order; no copy of anything, safe to call often."""
        return list(self._parts.store)

    async def get(self, ref: str) -> ContainerRecord:
        """The record."""
        return self._parts.store.resolve(ref)

    async def settled(self, ref: str) -> ContainerRecord:
        """The record, but none that shows an end which a restart is about to undo.

        Docker keeps who asks waiting meanwhile, and clients rely on that: compose's ``logs -f``
        looks at a container that died, and stays if it runs.
        """
        record = self._parts.store.resolve(ref)
        reviving = self._parts.live[record.id].reviving
        if reviving is not None and not record.state.running:
            await asyncio.wait({reviving}, timeout=_REVIVAL)
        return self._parts.store.resolve(record.id)

    async def list(self, options: ListOptions) -> Records:
        """Records, newest first."""
        return self._lister.select(options)

    def link_names(self, record: ContainerRecord) -> tuple[str, ...]:
        """``parent/alias`` for each container that links to this one."""
        return tuple(container_links.names_of(self._parts.store, record))

    def image_names(self, records: Records) -> tuple[str, ...]:
        """What lists call the images of containers; see ``Lister.image_names``."""
        return tuple(self._lister.image_names(records))

    async def sizes(self, ref: str) -> ContainerSizes:
        """Bytes on disk."""
        return await self._lister.sizes(ref)

    async def top(self, ref: str, ps_args: str = "") -> TopTable:
        """Processes of a running container, by ps(1)."""
        return await self._lister.top(ref, ps_args)

    async def stats(self, ref: str) -> AsyncIterator[Sample]:
        """The cgroup's counters now and once a second, until the container is removed."""
        return self._lister.stats(ref)

    # files

    async def changes(self, ref: str) -> Changes:
        """Paths that differ from the image."""
        return await self._files.changes(ref)

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """The whole filesystem as a tar stream."""
        return await self._files.export(ref)

    async def archive_stat(self, ref: str, path: str) -> PathStat:
        """What is at ``path``."""
        return await self._files.stat(ref, path)

    async def archive_get(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """``path`` as a tar stream."""
        return await self._files.get(ref, path)

    async def archive_put(
        self, ref: str, path: str, data: AsyncIterator[bytes], options: ArchivePut
    ) -> None:
        """Unpack a tar stream (possibly compressed) into the directory ``path``."""
        await self._files.put(ref, path, data, options)

    async def commit(self, ref: str, options: CommitOptions) -> str:
        """Make an image of the container's filesystem; returns the image ID."""
        return await self._committer.commit(ref, options)
