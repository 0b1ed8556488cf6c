"""File operations of a graph: chains of changes, each chain one layer."""

from __future__ import annotations

import asyncio
import os
import secrets
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.executor import CopyPart, Tree
from ketch.engine.builder.graph.trees import EMPTY
from ketch.errors import InvalidParameter
from ketch.layers.globs import literal
from ketch.layers.streams import write_all
from ketch.llb import vertices as llb

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.build.progress.events import Report
    from ketch.engine.builder.graph.trees import GraphTrees
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.executor import BuildExecutor
    from ketch.mounts import Rootfs

_TASK = "ketch.build.tasks.files:apply"
_OWNER = "ketch.build.tasks.trees:owner"
_MOST_TREES = 32  # that one worker is given
_NAMES = {
    llb.Copy: "copy",
    llb.MakeFile: "make_file",
    llb.MakeDirectory: "make_directory",
    llb.MakeLink: "make_link",
    llb.Remove: "remove",
}


class Ready(msgspec.Struct, frozen=True):
    """A change that can be made: what it is for its cache key, and a worker's words for it."""

    facts: object
    task: str
    words: dict[str, Any]
    files: Tree | None = None
    content: bytes = b""


class GraphChanges:
    """Those of one build."""

    def __init__(self, room: BuildRoom, executor: BuildExecutor, trees: GraphTrees) -> None:
        self._room = room
        self._executor = executor
        self._trees = trees

    async def run(
        self, vertex: llb.Vertex, inputs: Sequence[Tree], report: Report
    ) -> tuple[dict[int, Tree], bool]:
        """The outputs by number, and whether all were there; raises ``NotFound`` and
        ``InvalidParameter``."""
        work = vertex.work
        assert isinstance(work, llb.Files)
        trees, hits = list(inputs), True
        ends = _ends(work, len(inputs))
        chain: list[Ready] = []
        begun = EMPTY
        for number, action in enumerate(work.actions, len(inputs)):
            if not chain:
                begun = _tree(trees, action.input)
            chain.append(await self._ready(action, trees))
            trees.append(EMPTY)
            if number in ends:
                trees[number], hit = await self._made(vertex, begun, chain, report)
                hits = hits and hit
                chain = []
        outputs = {
            action.output: trees[number]
            for number, action in enumerate(work.actions, len(inputs))
            if action.output != llb.NO_OUTPUT
        }
        return outputs, hits

    async def _made(
        self, vertex: llb.Vertex, begun: Tree, chain: list[Ready], report: Report
    ) -> tuple[Tree, bool]:
        layers = await self._trees.layers(begun, report)
        key = self._trees.key("files", layers, [ready.facts for ready in chain])

        async def make() -> str:
            return await self._execute(layers, chain)

        layer, hit = await self._trees.layer(key, make, report, fresh=vertex.fresh)
        return Tree("layers", (*layers, *([layer] if layer else []))), hit

    async def _execute(self, layers: tuple[str, ...], chain: list[Ready]) -> str:
        room = self._room
        snapshots = room.parts.snapshots
        key = f"build-{secrets.token_hex(16)}"
        snapshots.prepare(key, layers or (room.floor,), apart=True)
        trees = list(dict.fromkeys(ready.files for ready in chain if ready.files is not None))
        try:
            for part in _parts(chain, trees):
                # a volatile one is mounted once only
                rootfs = snapshots.rootfs(key, volatile=len(trees) <= _MOST_TREES)
                await self._apply(part, rootfs)
            return await room.ingest(key)
        finally:
            room.later(asyncio.to_thread(snapshots.remove, key))

    async def _apply(self, chain: list[Ready], rootfs: Rootfs) -> None:
        """By one worker in the tree, which is given those that files are copied from."""
        room = self._room
        trees = list(dict.fromkeys(ready.files for ready in chain if ready.files is not None))
        changes, size = [], 0
        for ready in chain:
            words = {"do": ready.task, **ready.words, "at": size, "size": len(ready.content)}
            words |= {} if ready.files is None else {"tree": trees.index(ready.files)}
            changes.append(words)
            size += len(ready.content)
        contents = _in_memory(b"".join(ready.content for ready in chain))
        try:
            args = {"trees": len(trees), "changes": changes}
            views = [await room.view(tree) for tree in trees]
            await room.parts.launcher.work(_TASK, args, [contents], rootfs, trees=views)
        finally:
            os.close(contents)

    # what is to be done

    async def _ready(self, action: llb.Action, trees: list[Tree]) -> Ready:
        change = action.change
        task = _NAMES[type(change)]
        if isinstance(change, llb.Remove):
            words = msgspec.structs.asdict(change)
            return Ready([task, words], task, words)
        chown = await self._chown(change.owner, trees)
        if isinstance(change, llb.Copy):
            return await self._copy(change, chown, _tree(trees, action.files))
        words = {**msgspec.structs.asdict(change), "chown": chown}
        del words["owner"]
        content = words.pop("data", b"")
        return Ready([task, words, content], task, words, content=content)

    async def _copy(self, change: llb.Copy, chown: list[int] | None, files: Tree) -> Ready:
        files = await self._trees.shown(files)
        part = CopyPart(
            files,
            (change.source if change.wildcard else literal(change.source),),
            extract=change.unpack,
            excludes=_patterns(change),
            owners=files.kind != "context",
            follow=change.follow,
        )
        words = {
            "destination": change.destination,
            "contents": change.contents,
            "unpack": change.unpack,
            "make_parents": change.make_parents,
            "replace": change.replace,
            "may_be_empty": change.may_be_empty,
            "chown": chown if chown or files.kind != "context" else [0, 0],
            "chmod": change.mode,
            "time": change.time,
            "sources": list(part.sources),
            "excludes": list(part.excludes),
            "follow": part.follow,
        }
        checksum = await self._executor.checksum(part)
        return Ready(["copy", words, checksum], "copy", words, files)

    async def _chown(self, owner: llb.Owner | None, trees: list[Tree]) -> list[int] | None:
        """The numbers; a user's group counts where none is given."""
        if owner is None:
            return None
        uid, gid = await self._ids(owner.user, trees) if owner.user else (0, 0)
        if owner.group is not None:
            group = owner.group
            gid = (await self._group(group, trees)) if group.name else group.id
        return [uid, gid]

    async def _ids(self, user: llb.User, trees: list[Tree]) -> tuple[int, int]:
        if not user.name:
            return user.id, user.id
        return await self._looked_up(user.name, _tree(trees, user.input))

    async def _group(self, group: llb.User, trees: list[Tree]) -> int:
        return (await self._looked_up(f"0:{group.name}", _tree(trees, group.input)))[1]

    async def _looked_up(self, text: str, tree: Tree) -> tuple[int, int]:
        if tree.kind == "layers" and not tree.layers:
            raise InvalidParameter(f"{text}: there are no files to look the name up in")
        view = await self._room.view(tree)
        found = await self._room.parts.launcher.work(_OWNER, {"owner": text}, [], view)
        return int(found["uid"]), int(found["gid"])


def _parts(chain: list[Ready], trees: list[Tree]) -> list[list[Ready]]:
    """For so many workers that none is given too many trees."""
    if len(trees) <= _MOST_TREES:
        return [chain]
    return [chain[at : at + _MOST_TREES] for at in range(0, len(chain), _MOST_TREES)]


def _ends(work: llb.Files, inputs: int) -> set[int]:
    """Where a chain of changes ends: at an output, and unless the next action, and it alone, goes
    on from there."""
    used: dict[int, list[int]] = {}
    for number, action in enumerate(work.actions, inputs):
        owner = getattr(action.change, "owner", None)
        named = [user.input for user in (owner.user, owner.group) if user] if owner else []
        for place in (action.files, *named):
            used.setdefault(place, []).append(-1)
        used.setdefault(action.input, []).append(number)
    numbers = range(inputs, inputs + len(work.actions))
    return {
        number
        for number, action in zip(numbers, work.actions, strict=True)
        if action.output != llb.NO_OUTPUT or used.get(number) != [number + 1]
    }


def _tree(trees: Sequence[Tree], place: int) -> Tree:
    return EMPTY if place == llb.EMPTY else trees[place]


def _patterns(change: llb.Copy) -> tuple[str, ...]:
    """Those of what is left out: all but what is included, then what is excluded."""
    excludes = tuple(pattern.strip("/") for pattern in change.excludes)
    if not change.includes:
        return excludes
    return ("**", *(f"!{pattern.strip('/')}" for pattern in change.includes), *excludes)


def _in_memory(data: bytes) -> int:
    fd = os.memfd_create("content", os.MFD_CLOEXEC)
    write_all(fd, data)
    os.lseek(fd, 0, os.SEEK_SET)
    return fd
