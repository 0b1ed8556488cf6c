"""The workers of one build: as many as there are cores, started when there is work for them.

The first one takes the context; all can hash what lies in the build's directory and store layers.
"""

from __future__ import annotations

import asyncio
import os
from typing import TYPE_CHECKING, Any

from ketch.engine.builder_worker import BuildWorker

if TYPE_CHECKING:
    from ketch.engine.builder_git import Cloner
    from ketch.runtime.remote import Launcher


class BuildWorkers:
    """Requests go to whichever worker is free."""

    def __init__(self, launcher: Launcher, directory: str, cloner: Cloner, most: int = 0) -> None:
        self.cloner = cloner
        self._launcher = launcher
        self._directory = directory
        self._most = most or len(os.sched_getaffinity(0))
        self._all: list[BuildWorker] = []
        self._free: list[BuildWorker] = []
        self._slots = asyncio.Semaphore(self._most)

    async def receive(self, stream: int, **request: Any) -> dict[str, Any]:
        """Take the context's tar stream, whose fd stays the caller's (``tasks.serve``)."""
        async with self._slots:
            worker = await self._start(stream)
            try:
                return await worker.ask("receive", **request)
            finally:
                self._free.append(worker)

    async def ask(self, what: str, **request: Any) -> dict[str, Any]:
        """One request; raises what it raised, ``Unavailable`` when the worker died."""
        async with self._slots:
            worker = self._free.pop() if self._free else await self._start(-1)
            try:
                return await worker.ask(what, **request)
            finally:
                self._free.append(worker)

    async def _start(self, stream: int) -> BuildWorker:
        worker = BuildWorker(self._launcher, self._directory)
        self._all.append(worker)
        await worker.start(stream)
        return worker

    async def close(self) -> None:
        """Let them finish what they do, then end them."""
        for worker in self._all:
            await worker.close()
