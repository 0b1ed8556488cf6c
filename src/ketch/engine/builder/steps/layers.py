"""Layers of COPY and ADD without a snapshot: files go from their tree straight into the layer.

By the worker that received the context and has its tree in memory, which is lent the tree below;
where that can't be, by two workers with a pipe between them: one in the tree below, which finds the
places and is given the source's tree; one that stores the layer.
"""

from __future__ import annotations

import asyncio
import errno
import os
import secrets
from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

from ketch.build.executor import CopyPart
from ketch.engine.storing import storing
from ketch.errors import DataCorrupt, Unavailable
from ketch.mounts import Rootfs

if TYPE_CHECKING:
    from ketch.engine.builder.room import BuildRoom

_COPY = "ketch.build.tasks.copy"


class CopiedLayers:
    """The layers of one build."""

    def __init__(self, room: BuildRoom) -> None:
        self._room = room

    async def store(self, part: CopyPart, base: Rootfs, args: dict[str, Any]) -> str | None:
        """The layer that a copy onto ``base`` makes, held; None when it needs a snapshot.

        ``args`` are those of ``copy_tasks.copy``. ``""`` when nothing is changed.
        """
        words = {**taken(part), **args, "newest": self._room.newest}
        async with self._room.parts.images.hold():  # the layer has no name until it is held
            stored = await self._in_memory(part, words, base)
            if stored is not None:
                return stored
            view = await self._room.view(part.tree, part.sources)
            return await self._store(f"{_COPY}:layer", words, view, base)

    async def written(self, task: str, base: Rootfs, other: Rootfs) -> str:
        """The layer whose tar a worker in ``base`` writes, which is given another tree; held."""
        async with self._room.parts.images.hold():
            found = await self._store(task, {}, other, base)
        assert found is not None
        return found

    async def _in_memory(self, part: CopyPart, words: dict[str, Any], base: Rootfs) -> str | None:
        """In one pass; None when it has to be the other way."""
        room = self._room
        if part.tree.kind != "context" or room.parts.snapshots.name != "erofs":
            return None
        image = (await room.place(part.tree, part.sources)).get("image", "")
        if not room.workers.has_in_memory(image):
            return None
        try:
            lent = await room.parts.launcher.lend(base)
        except Unavailable:
            return None
        root = room.parts.config.data_root
        try:
            with storing(f"a layer in {root}"):
                stored = await room.workers.store("layer", lent, image=image, root=root, **words)
        finally:
            os.close(lent)
        return self._held(stored) if stored["plain"] else None

    async def _store(
        self, task: str, words: dict[str, Any], view: Rootfs, base: Rootfs
    ) -> str | None:
        with ExitStack() as open_fds, storing(f"a layer in {self._room.parts.config.data_root}"):
            pipe = _Pipe(self._room.directory, open_fds)
            ends = [
                asyncio.ensure_future(self._place(task, words, view, base, pipe)),
                asyncio.ensure_future(self._keep(pipe)),
            ]
            try:
                await asyncio.wait(ends)
            finally:
                for end in ends:
                    end.cancel()
                pipe.close()
                placed, kept = await asyncio.gather(*ends, return_exceptions=True)
        if isinstance(placed, dict) and not placed["plain"]:
            return None
        errors = [end for end in (placed, kept) if isinstance(end, BaseException)]
        if errors:
            raise min(errors, key=_is_consequence)
        assert isinstance(placed, dict)
        assert isinstance(kept, dict)
        return self._held({**kept, "entries": placed["entries"]})

    def _held(self, stored: dict[str, Any]) -> str:
        if not stored["entries"]:
            return ""
        layer = str(stored["diff_id"])
        self._room.hold([layer])
        return layer

    async def _place(
        self, task: str, words: dict[str, Any], view: Rootfs, base: Rootfs, pipe: _Pipe
    ) -> dict[str, Any]:
        launcher = self._room.parts.launcher
        try:
            return await launcher.work(task, words, [pipe.writing], base, trees=[view])
        finally:
            pipe.end_writing()

    async def _keep(self, pipe: _Pipe) -> dict[str, Any]:
        parts = self._room.parts
        try:
            return await self._room.workers.store(
                "store",
                pipe=pipe.name,
                root=parts.config.data_root,
                snapshotter=parts.snapshots.name,
            )
        finally:
            pipe.end_reading()


class _Pipe:
    """A named pipe ``name`` in a directory.

    ``reading`` only keeps it open for reading until its reader has it.
    """

    def __init__(self, directory: str, stack: ExitStack) -> None:
        self.name = f"pipe-{secrets.token_hex(8)}"
        path = f"{directory}/{self.name}"
        os.mkfifo(path, 0o600)
        stack.callback(os.unlink, path)
        self.reading = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.writing = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def end_writing(self) -> None:
        """Close our writing end, so that the reader sees the end."""
        self.writing = _closed(self.writing)

    def end_reading(self) -> None:
        """Close our reading end, so that the writer sees that nobody reads."""
        self.reading = _closed(self.reading)

    def close(self) -> None:
        """Close what is still open."""
        self.end_writing()
        self.end_reading()


def _closed(fd: int) -> int:
    if fd >= 0:
        os.close(fd)
    return -1


def taken(part: CopyPart) -> dict[str, Any]:
    """What a part takes, in the words of ``ketch.build.tasks.copy``."""
    return {
        "sources": list(part.sources),
        "parents": part.parents,
        "excludes": list(part.excludes),
        "owners": part.owners,
        "follow": part.follow,
    }


def _is_consequence(error: BaseException) -> bool:
    """Whether it is what an end says when another end failed."""
    broken = isinstance(error, OSError) and error.errno == errno.EPIPE
    return broken or isinstance(error, DataCorrupt | asyncio.CancelledError)
