"""COPY, ADD and WORKDIR: workers inside a step's snapshot."""

from __future__ import annotations

import asyncio
import os
import re
import secrets
import shutil
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from ketch.build.executor import CopyPart, CopyStep, Tree
from ketch.engine.builder.steps.layers import CopiedLayers, taken
from ketch.errors import InvalidParameter
from ketch.mounts import Rootfs
from ketch.runtime import users

if TYPE_CHECKING:
    from ketch.engine.builder.room import BuildRoom

_COPY = "ketch.build.tasks.copy"
_TASKS = "ketch.build.tasks.trees"
_MOST_SUMS = 5000
_NUMBERS = re.compile(r"(\d{1,10})(?::(\d{1,10}))?")


class StepFiles:
    """The file steps of one build; ``sums`` remembers checksums of layers across builds."""

    def __init__(self, room: BuildRoom, sums: dict[tuple[object, ...], str]) -> None:
        self._room = room
        self._sums = sums
        self._layers = CopiedLayers(room)

    async def checksum(self, part: CopyPart) -> str:
        """See the executor's protocol."""
        identity = await self._room.identity(part.tree, part.sources)
        if identity is None:
            return await self._checksum(part)
        known = (identity, part.sources, part.parents, part.excludes, part.owners)
        if known not in self._sums:
            if len(self._sums) > _MOST_SUMS:
                self._sums.clear()
            found = await self._checksum(part)
            if await self._room.identity(part.tree, part.sources) != identity:
                return found  # more of the context had to be brought
            self._sums[known] = found
        return self._sums[known]

    async def _checksum(self, part: CopyPart) -> str:
        """Of layers in their tree; of what lies in the build's directory by its worker."""
        room, words = self._room, taken(part)
        if part.tree.kind == "layers":
            view = await room.view(part.tree)
            found = await room.parts.launcher.work(f"{_COPY}:checksum", words, [], view)
        else:
            place = await room.place(part.tree, part.sources)
            found = await room.workers.ask("checksum", **place, **words)
            if found.get("partial"):
                found = await room.workers.ask("checksum", **await room.place(part.tree), **words)
        return str(found["digest"])

    async def exists(self, tree: Tree, path: str) -> bool:
        """See the executor's protocol."""
        args, view = {"path": path}, await self._room.view(tree, [path])
        found = await self._room.parts.launcher.work(f"{_TASKS}:exists", args, [], view)
        return bool(found["exists"])

    async def facts(self, tree: Tree, path: str) -> tuple[int, int, int]:
        """Mode (with the type), owner and group of a path, links followed; raises ``NotFound``."""
        view = await self._room.view(tree, [path])
        found = await self._room.parts.launcher.work(f"{_TASKS}:facts", {"path": path}, [], view)
        return int(found["mode"]), int(found["uid"]), int(found["gid"])

    async def directories(self, layers: tuple[str, ...], path: str) -> list[tuple[int, int, int]]:
        """See the executor's protocol."""
        work = self._room.parts.launcher.work
        found = await work(f"{_TASKS}:directories", {"path": path}, [], self._view(layers))
        return [(mode, uid, gid) for mode, uid, gid in found["found"]]

    async def make_directory(self, layers: tuple[str, ...], path: str, owner: str = "") -> str:
        """See the executor's protocol."""
        args = {"path": path, "owner": owner}
        async with self._snapshot(layers) as key:
            rootfs = self._room.parts.snapshots.rootfs(key, volatile=True)
            task = f"{_TASKS}:make_directory"
            found = await self._room.parts.launcher.work(task, args, [], rootfs)
            return await self._room.ingest(key) if found["made"] else ""

    async def copy(self, step: CopyStep) -> str:
        """See the executor's protocol."""
        args: dict[str, Any] = {
            "destination": step.destination,
            "chown": await self._owner(step),
            "chmod": step.mode,
            "several": len(step.parts) > 1,
        }
        args["archive_chown"] = args["chown"] if step.owner else None
        layers = () if step.link else step.layers
        if len(step.parts) == 1:
            only = step.parts[0]
            stored = await self._layers.store(only, self._view(layers), _placing(args, only))
            if stored is not None:
                return stored
        async with self._snapshot(layers) as key:
            for part in step.parts:
                target = self._room.parts.snapshots.rootfs(key)
                await self._copy(part, target, _placing(args, part))
            return await self._room.ingest(key)

    async def copy_tree(self, tree: Tree, source: str, path: str) -> None:
        """Copy what is at ``source`` of a tree into an empty directory of the host, owners kept."""
        part = CopyPart(tree, (source.lstrip("/") or ".",))
        work = f"{path}.work"
        os.mkdir(work, 0o700)
        target = Rootfs(self._view(()).lowers, path, work)
        args: dict[str, Any] = {"destination": "/", "chown": None, "chmod": ""}
        try:
            await self._copy(part, target, args)
        finally:
            await asyncio.to_thread(shutil.rmtree, work, ignore_errors=True)

    async def _copy(self, part: CopyPart, target: Rootfs, args: dict[str, Any]) -> None:
        """By a worker in the destination's tree, which is given the source's."""
        words = {**args, **taken(part)}
        view = await self._room.view(part.tree, part.sources)
        await self._room.parts.launcher.work(f"{_COPY}:copy", words, [], target, trees=[view])

    async def _owner(self, step: CopyStep) -> list[int]:
        """Numbers as they are; names are looked up in the image."""
        if not step.owner:
            return [0, 0]
        match = _NUMBERS.fullmatch(step.owner)
        if match is not None:
            pair = [int(match[1]), int(match[2] or match[1])]
            if max(pair) > users.MAX_ID:
                raise InvalidParameter(f"--chown={step.owner}: IDs go up to {users.MAX_ID}")
            return pair
        args, view = {"owner": step.owner}, self._view(step.layers)
        found = await self._room.parts.launcher.work(f"{_TASKS}:owner", args, [], view)
        return [int(found["uid"]), int(found["gid"])]

    def _view(self, layers: tuple[str, ...]) -> Rootfs:
        return self._room.parts.snapshots.view(layers or (self._room.empty,))

    @asynccontextmanager
    async def _snapshot(self, layers: tuple[str, ...]) -> AsyncIterator[str]:
        key = f"build-{secrets.token_hex(16)}"
        snapshots = self._room.parts.snapshots
        snapshots.prepare(key, layers or (self._room.empty,), apart=True)
        try:
            yield key
        finally:
            self._room.later(asyncio.to_thread(snapshots.remove, key))


def _placing(args: dict[str, Any], part: CopyPart) -> dict[str, Any]:
    """The words for one part's destination."""
    return {**args, "extract": part.extract, "chown": None if part.owners else args["chown"]}
