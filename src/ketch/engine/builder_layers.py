"""Layers of COPY and ADD without a snapshot: files go from their tree straight into the layer.

Three workers with pipes between them: one in the source's tree, one in the tree below that finds
the places, one that stores the layer.
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
from ketch.errors import DataCorrupt
from ketch.mounts import Rootfs

if TYPE_CHECKING:
    from ketch.engine.builder_room import BuildRoom

_COPY = "ketch.build.copy_tasks"


class CopiedLayers:
    """The layers of one build."""

    def __init__(self, room: BuildRoom) -> None:
        self._room = room

    async def store(self, part: CopyPart, base: Rootfs, args: dict[str, Any]) -> str | None:
        """The layer that a copy onto ``base`` makes, held; None when it needs a snapshot.

        ``args`` are those of ``copy_tasks.copy``. ``""`` when nothing is changed.
        """
        view = await self._room.view(part.tree)
        async with self._room.parts.images.hold():  # the layer has no name until it is held
            return await self._store(part, view, base, args)

    async def _store(
        self, part: CopyPart, view: Rootfs, base: Rootfs, args: dict[str, Any]
    ) -> str | None:
        with ExitStack() as open_fds, storing(f"a layer in {self._room.parts.config.data_root}"):
            pipes = _Pipes(self._room.directory, open_fds)
            ends = [
                asyncio.ensure_future(self._send(part, view, pipes)),
                asyncio.ensure_future(self._place(part, base, args, pipes)),
                asyncio.ensure_future(self._keep(pipes)),
            ]
            try:
                await asyncio.wait(ends)
            finally:
                for end in ends:
                    end.cancel()
                pipes.close()
                sent, placed, kept = await asyncio.gather(*ends, return_exceptions=True)
        if isinstance(placed, dict) and not placed["plain"]:
            return None
        errors = [end for end in (sent, placed, kept) if isinstance(end, BaseException)]
        if errors:
            raise min(errors, key=_is_consequence)
        assert isinstance(placed, dict)
        assert isinstance(kept, dict)
        return self._held(placed, kept)

    def _held(self, placed: dict[str, Any], kept: dict[str, Any]) -> str:
        if not placed["entries"]:
            return ""
        layer = str(kept["diff_id"])
        self._room.hold([layer])
        return layer

    async def _send(self, part: CopyPart, view: Rootfs, pipes: _Pipes) -> object:
        launcher = self._room.parts.launcher
        try:
            words = taken(part)
            return await launcher.work(f"{_COPY}:copy_out", words, [pipes.source_end], view)
        finally:
            pipes.end("source_end")

    async def _place(
        self, part: CopyPart, base: Rootfs, args: dict[str, Any], pipes: _Pipes
    ) -> dict[str, Any]:
        launcher = self._room.parts.launcher
        fds = [pipes.place_end, pipes.layer_end]
        try:
            words = {**args, "newest": self._room.newest}
            return await launcher.work(f"{_COPY}:layer", words, fds, base)
        finally:
            pipes.end("place_end", "layer_end")

    async def _keep(self, pipes: _Pipes) -> dict[str, Any]:
        parts = self._room.parts
        try:
            return await self._room.workers.ask(
                "store",
                pipe=pipes.name,
                root=parts.config.data_root,
                snapshotter=parts.snapshots.name,
            )
        finally:
            pipes.end("store_end")


class _Pipes:
    """``source_end`` → ``place_end``, ``layer_end`` → the named pipe ``name`` in a directory.

    ``store_end`` only keeps the named pipe open for reading until its reader has it.
    """

    def __init__(self, directory: str, stack: ExitStack) -> None:
        self.name = f"pipe-{secrets.token_hex(8)}"
        path = f"{directory}/{self.name}"
        os.mkfifo(path, 0o600)
        stack.callback(os.unlink, path)
        self.place_end, self.source_end = os.pipe2(os.O_CLOEXEC)
        self.store_end = os.open(path, os.O_RDONLY | os.O_NONBLOCK | os.O_CLOEXEC)
        self.layer_end = os.open(path, os.O_WRONLY | os.O_CLOEXEC)

    def end(self, *names: str) -> None:
        """Close some of our ends, so that the others see it."""
        for name in names:
            fd = getattr(self, name)
            setattr(self, name, -1)
            if fd >= 0:
                os.close(fd)

    def close(self) -> None:
        """Close what is still open."""
        self.end("source_end", "place_end", "layer_end", "store_end")


def taken(part: CopyPart) -> dict[str, Any]:
    """What a part takes, in the words of ``ketch.build.copy_tasks``."""
    return {
        "sources": list(part.sources),
        "parents": part.parents,
        "excludes": list(part.excludes),
        "owners": part.owners,
    }


def _is_consequence(error: BaseException) -> bool:
    """Whether it is what an end says when another end failed."""
    broken = isinstance(error, OSError) and error.errno == errno.EPIPE
    return broken or isinstance(error, DataCorrupt | asyncio.CancelledError)
