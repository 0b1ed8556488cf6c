"""The workers of one build: as many as there are cores, started when there is work for them.

The first one takes the context; all can hash what lies in the build's directory and store layers.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
from collections.abc import Callable
from typing import TYPE_CHECKING, Any

from ketch.engine.builder.contexts.seen import Archive, SeenContexts
from ketch.layers.streams import write_all

if TYPE_CHECKING:
    from ketch.engine.builder.contexts.git import Cloner
    from ketch.engine.builder.spare import SpareWorker
    from ketch.engine.builder.worker import BuildWorker


def directory_of(name: str) -> str:
    """Where the files of a context are, the build's own ("") or a named one, as files."""
    return f"context-{hashlib.sha256(name.encode()).hexdigest()[:16]}" if name else "context"


class BuildWorkers:
    """Requests go to whichever worker is free."""

    def __init__(
        self,
        spare: SpareWorker,
        directory: str,
        cloner: Cloner,
        abandon: Callable[[str], None],
        seen: SeenContexts,
        most: int = 0,
    ) -> None:
        """``abandon`` is that of the layers' store."""
        self.cloner = cloner
        self._spare = spare
        self._abandon = abandon
        self._scratches: set[str] = set()
        self._directory = directory
        self._most = most or len(os.sched_getaffinity(0))
        self._all: list[BuildWorker] = []
        self._free: list[BuildWorker] = []
        self._holders: dict[str, BuildWorker] = {}  # of images, in memory
        self.received: dict[str, dict[str, Any]] = {}
        self.images: list[str] = []
        self._seen = seen
        self._waiting: dict[str, Archive] = {}
        self._arriving: dict[str, asyncio.Task[None]] = {}
        self._slots = asyncio.Semaphore(self._most)

    async def receive_image(
        self, stream: int, name: str, dockerfile: str = "", image: str = ""
    ) -> dict[str, Any]:
        """Take the tar stream of the context ``name``, whose fd stays the caller's.

        See ``ketch.build.tasks.context_image.receive``; the answer stays in ``received``, with the
        name of its ``image``. A caller adds ``partial`` where links in it may lead to what was not
        sent.
        """
        image = image or self.new_image(name)
        asked = {"image": image, "dockerfile": dockerfile}
        found = await self._receive(stream, "receive_image", asked)
        self.received[name] = {**found, "image": image}
        return self.received[name]

    async def receive_archive(self, archive: Archive, name: str) -> dict[str, Any]:
        """The same of a stream that is here as a whole: one that came before may ``arrive`` later.

        Raises what ``receive_image`` does.
        """
        image, found = self.new_image(name), self._seen.find(archive)
        if found is None:
            found = await self._take(archive, image)
            self._seen.keep(archive, found)
        else:
            self._waiting[name] = archive
        self.received[name] = {**found, "image": image}
        return self.received[name]

    async def arrive(self, name: str) -> None:
        """See to it that the image of a context that was received is there."""
        if name in self._waiting and name not in self._arriving:
            self._arriving[name] = asyncio.create_task(self._arrive(name))
        if name in self._arriving:
            await asyncio.shield(self._arriving[name])

    async def _arrive(self, name: str) -> None:
        await self._take(self._waiting[name], str(self.received[name]["image"]))
        del self._waiting[name]

    async def _take(self, archive: Archive, image: str) -> dict[str, Any]:
        asked = {"image": image, "dockerfile": archive.dockerfile}
        stream = os.memfd_create("context", os.MFD_CLOEXEC)
        try:
            write_all(stream, archive.data)
            os.lseek(stream, 0, os.SEEK_SET)
            return await self._receive(stream, "receive_image", asked)
        finally:
            os.close(stream)

    def present(self) -> list[str]:
        """The images but for those that have not arrived."""
        waiting = {self.received[name]["image"] for name in self._waiting}
        return [image for image in self.images if image not in waiting]

    def new_image(self, name: str) -> str:
        """The name of a new image of a context, which may be brought twice."""
        image = f"{directory_of(name)}-{len(self.images)}.erofs"
        self.images.append(image)
        return image

    def path(self, image: str) -> str:
        """Where an image is, or will be."""
        return f"{self._directory}/{image}"

    async def receive(self, stream: int, **request: Any) -> dict[str, Any]:
        """See ``ketch.build.tasks.serving.receive``; the tar stream's fd stays the caller's."""
        return await self._receive(stream, "receive", request)

    async def _receive(self, stream: int, what: str, request: dict[str, Any]) -> dict[str, Any]:
        async with self._slots:
            worker = await self._start(stream)
            if "image" in request:
                self._holders[request["image"]] = worker
            try:
                return await worker.ask(what, **request)
            finally:
                self._free.append(worker)

    def has_in_memory(self, image: str) -> bool:
        """Whether a worker that is free has received a context's image."""
        return self._holders.get(image) in self._free

    async def unpack(self, name: str, directory: str) -> None:
        """Make the files of a context that was received, in a new directory of the build's."""
        await self.arrive(name)
        found = self.received[name]
        await self.ask(
            "unpack",
            image=found["image"],
            directory=directory,
            tar_size=found["tar_size"],
            ignore=found.get("ignore", ""),
        )

    async def ask(self, what: str, lent: int = -1, **request: Any) -> dict[str, Any]:
        """One request, as ``BuildWorker.ask``; to the worker that received the ``image`` that it is
        about, if that one is free."""
        async with self._slots:
            worker = self._pick(request.get("image", "")) or await self._start(-1)
            try:
                return await worker.ask(what, lent, **request)
            finally:
                self._free.append(worker)

    def _pick(self, image: str) -> BuildWorker | None:
        """A worker that is free."""
        holder = self._holders.get(image)
        if holder is not None and holder in self._free:
            self._free.remove(holder)
            return holder
        return self._free.pop() if self._free else None

    async def store(self, what: str, lent: int = -1, **request: Any) -> dict[str, Any]:
        """``ask`` for a layer (``ingest``, ``layer``, ``store``). What a worker that died left of
        it goes with the build."""
        scratch = secrets.token_hex(8)
        self._scratches.add(scratch)
        found = await self.ask(what, lent, scratch=scratch, **request)
        self._scratches.discard(scratch)
        return found

    async def _start(self, stream: int) -> BuildWorker:
        worker = self._spare.take()
        self._all.append(worker)
        await worker.begin(self._directory, stream)
        return worker

    async def close(self) -> None:
        """Let them finish what they do, but not for long, then end them."""
        for task in self._arriving.values():
            task.cancel()
        await asyncio.gather(*self._arriving.values(), return_exceptions=True)
        await asyncio.gather(*(worker.close() for worker in self._all))
        for scratch in self._scratches:
            await asyncio.to_thread(self._abandon, scratch)
