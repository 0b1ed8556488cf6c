"""Containers: the public face of their life cycle.

Each method is one verb of Docker's; the work is done by the modules named ``container_…``.
Operations on one container are serialised by its lock, so that a storm of starts, stops and
removes on one name gives some linear history of success and ``Conflict``.
"""

from __future__ import annotations

from collections.abc import AsyncIterator

from ketch.engine.model import (
    ArchivePut,
    AttachOptions,
    Change,
    CommitOptions,
    ContainerRecord,
    ContainerSizes,
    ContainerSpec,
    Filters,
    ListOptions,
    LogEntry,
    LogOptions,
    PathStat,
    PruneReport,
    Stats,
    TopTable,
    UpdateOptions,
    WaitCondition,
)
from ketch.engine.wait import Waiter


class Containers:
    """See the module's docstring."""

    # life cycle

    async def create(self, spec: ContainerSpec, name: str = "") -> tuple[str, tuple[str, ...]]:
        """Make a container of an image; returns its ID and warnings once the record is durable.

        Raises ``NotFound`` (image), ``Conflict`` (name), ``InvalidParameter``, ``Unsupported``.
        """
        raise NotImplementedError

    async def start(self, ref: str) -> None:
        """Start; raises ``NotModified`` when it runs, ``StartFailed``, ``Conflict`` if paused."""
        raise NotImplementedError

    async def stop(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        """Signal, wait ``timeout`` seconds (None: the container's, -1: for ever), then kill.

        Raises ``NotModified`` when it does not run.
        """
        raise NotImplementedError

    async def restart(self, ref: str, timeout: int | None = None, signal: str = "") -> None:
        """Stop if it runs, and start."""
        raise NotImplementedError

    async def kill(self, ref: str, signal: str = "") -> None:
        """Send a signal (name or number; empty = KILL); with KILL, returns after the exit."""
        raise NotImplementedError

    async def pause(self, ref: str) -> None:
        """Freeze all processes."""
        raise NotImplementedError

    async def unpause(self, ref: str) -> None:
        """Thaw."""
        raise NotImplementedError

    async def rename(self, ref: str, name: str) -> None:
        """Give another name."""
        raise NotImplementedError

    async def remove(
        self, ref: str, *, force: bool = False, volumes: bool = False, link: bool = False
    ) -> None:
        """Delete; ``force`` kills first, ``volumes`` takes anonymous volumes along."""
        raise NotImplementedError

    async def wait(self, ref: str, condition: WaitCondition = WaitCondition.NOT_RUNNING) -> Waiter:
        """Register a wait; returns at once, ``await waiter.result()`` answers later."""
        raise NotImplementedError

    async def update(self, ref: str, options: UpdateOptions) -> tuple[str, ...]:
        """Change limits and restart policy, live; returns warnings."""
        raise NotImplementedError

    async def prune(self, filters: Filters) -> PruneReport:
        """Remove every container that does not run.

        Filters: ``label``, ``label!``, ``until`` (ns since the epoch, as decimal text).
        """
        raise NotImplementedError

    # stdio

    async def check_attach(self, ref: str) -> None:
        """Raise what ``attach`` would raise, before the connection is hijacked."""
        raise NotImplementedError

    async def attach(self, ref: str, options: AttachOptions) -> None:
        """Connect a client's socket to stdio; before start it is held and connected by it.

        The engine owns ``options.sock`` from here on, also when this raises.
        """
        raise NotImplementedError

    async def resize(self, ref: str, height: int, width: int) -> None:
        """Set the size of the terminal in characters."""
        raise NotImplementedError

    async def logs(self, ref: str, options: LogOptions) -> AsyncIterator[LogEntry]:
        """The log; awaiting it checks, iterating it reads.

        Raises ``Unsupported`` when the driver can't be read.
        """
        raise NotImplementedError

    # looking

    async def get(self, ref: str) -> ContainerRecord:
        """The record."""
        raise NotImplementedError

    async def list(self, options: ListOptions) -> list[ContainerRecord]:
        """Records, newest first."""
        raise NotImplementedError

    async def sizes(self, ref: str) -> ContainerSizes:
        """Bytes on disk."""
        raise NotImplementedError

    async def top(self, ref: str, ps_args: str = "") -> TopTable:
        """Processes of a running container, by ps(1)."""
        raise NotImplementedError

    async def stats(self, ref: str) -> Stats | None:
        """One sample of the cgroup's counters; None when it does not run."""
        raise NotImplementedError

    # files

    async def changes(self, ref: str) -> list[Change]:
        """Paths that differ from the image."""
        raise NotImplementedError

    async def export(self, ref: str) -> AsyncIterator[bytes]:
        """The whole filesystem as a tar stream."""
        raise NotImplementedError

    async def archive_stat(self, ref: str, path: str) -> PathStat:
        """What is at ``path``."""
        raise NotImplementedError

    async def archive_get(self, ref: str, path: str) -> tuple[PathStat, AsyncIterator[bytes]]:
        """``path`` as a tar stream."""
        raise NotImplementedError

    async def archive_put(
        self, ref: str, path: str, data: AsyncIterator[bytes], options: ArchivePut
    ) -> None:
        """Unpack a tar stream (possibly compressed) into the directory ``path``."""
        raise NotImplementedError

    async def commit(self, ref: str, options: CommitOptions) -> str:
        """Make an image of the container's filesystem; returns the image ID."""
        raise NotImplementedError
