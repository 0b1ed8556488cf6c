"""The worker of the next build: who builds once soon builds again.

Starting a worker takes some milliseconds, up to 30 where what it needs must be imported first: more
than a build takes that finds everything in the cache. One waits after each build, and ends when
nobody came.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING

from ketch.engine.builder.worker import PATIENCE, BuildWorker

if TYPE_CHECKING:
    from ketch.engine.tasks import Background
    from ketch.runtime.remote import Launcher


class SpareWorker:
    """At most one worker that has no build yet."""

    def __init__(self, launcher: Launcher, background: Background) -> None:
        self._launcher = launcher
        self._background = background
        self._waiting: BuildWorker | None = None
        self._expiry: asyncio.TimerHandle | None = None

    def take(self) -> BuildWorker:
        """The one that waits, or a new one."""
        worker, self._waiting = self._waiting, None
        self._forget()
        if worker is not None and worker.alive:
            return worker
        return self._new(ahead=False)

    def prepare(self) -> None:
        """Have one wait."""
        self._forget()
        if self._waiting is None or not self._waiting.alive:
            self._waiting = self._new(ahead=True)
        self._expiry = asyncio.get_running_loop().call_later(PATIENCE, self._expire)

    async def close(self) -> None:
        """End the one that waits."""
        worker, self._waiting = self._waiting, None
        self._forget()
        if worker is not None:
            await worker.close()

    def _new(self, *, ahead: bool) -> BuildWorker:
        worker = BuildWorker(self._launcher)
        worker.start(ahead=ahead)
        return worker

    def _expire(self) -> None:
        self._background.spawn(self.close())

    def _forget(self) -> None:
        if self._expiry is not None:
            self._expiry.cancel()
            self._expiry = None
