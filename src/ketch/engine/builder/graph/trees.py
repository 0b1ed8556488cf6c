"""Trees of files between the vertices of a graph: as layers, as something to look at."""

from __future__ import annotations

import hashlib
from collections.abc import Awaitable, Callable
from typing import TYPE_CHECKING

import msgspec

from ketch.build.executor import CacheEntry, CopyPart, CopyStep, Tree
from ketch.build.request.epoch import epoch_of
from ketch.build.steps.image_config import timestamp
from ketch.engine.builder.graph.image import Made
from ketch.engine.builder.steps.layers import CopiedLayers

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.executor import BuildExecutor

_KEY_VERSION = b"ketch graph step 1\0"
_DIFF = "ketch.layers.compare:write"
EMPTY = Tree("layers")


class GraphTrees:
    """Those of one build."""

    def __init__(self, room: BuildRoom, executor: BuildExecutor) -> None:
        self._room = room
        self._executor = executor
        self._nothing: Tree | None = None
        self._made: dict[str, Made] = {}

    def made(self, layer: str) -> Made:
        """How a layer came to be."""
        return self._made.get(layer, Made())

    def key(self, *facts: object) -> str:
        """Of something that makes a layer: what it is and all that it can depend on."""
        digest = hashlib.sha256(_KEY_VERSION)
        digest.update(msgspec.json.encode(facts, order="deterministic"))
        epoch = epoch_of(self._room.options.build_args)
        if epoch is not None:  # files of the layer are not younger
            digest.update(f" before {epoch}".encode())
        return "sha256:" + digest.hexdigest()

    async def layer(
        self, key: str, make: Callable[[], Awaitable[str]], report: Report, *, fresh: bool = False
    ) -> tuple[str, bool]:
        """The layer under a key, and whether it was there; what an earlier build, or another one
        under way, or a cache from elsewhere has is taken, unless it is to be ``fresh``."""

        async def entry() -> CacheEntry:
            return CacheEntry(await make(), timestamp())

        reuse = not (fresh or self._room.options.no_cache)
        found, hit = await self._executor.outcome(key, entry, reuse=reuse, report=report)
        self._made.setdefault(found.layer, Made(report.vertex.name, found.created))
        return found.layer, hit

    async def layers(self, tree: Tree, report: Report) -> tuple[str, ...]:
        """A tree as layers: files that were sent or fetched become one."""
        if tree.kind == "layers":
            return tree.layers
        part = CopyPart(tree, (".",), owners=tree.kind == "fetched")
        checksum = await self._executor.checksum(part)

        async def make() -> str:
            step = CopyStep(layers=(), parts=(part,), destination="/", link=True)
            return await self._executor.copy(step)

        layer, _ = await self.layer(self.key("tree", part.owners, checksum), make, report)
        return (layer,) if layer else ()

    async def shown(self, tree: Tree) -> Tree:
        """To be looked at or mounted: an empty tree is an empty directory, not what lies under the
        steps of a build."""
        if tree.kind != "layers" or tree.layers:
            return tree
        if self._nothing is None:
            self._nothing = await self._executor.inline(())
        return self._nothing

    async def content(self, tree: Tree, path: str = "/") -> str:
        """What the files at a path of a tree have in common with the same ones elsewhere."""
        if tree.kind == "layers":
            return " ".join((*tree.layers, path))
        source = (path.lstrip("/") or ".",)
        part = CopyPart(tree, source, owners=tree.kind == "fetched")
        return await self._executor.checksum(part)

    async def merged(self, trees: list[Tree], report: Report) -> Tree:
        """Layers of all, one above the other."""
        found = [layer for tree in trees for layer in await self.layers(tree, report)]
        return Tree("layers", tuple(found))

    async def difference(self, lower: Tree, upper: Tree, report: Report) -> tuple[Tree, bool]:
        """What ``upper`` has changed of ``lower``: its layers above those of the lower one, or a
        layer that is found by looking at both; and whether that was known."""
        below, above = await self.layers(lower, report), await self.layers(upper, report)
        if above[: len(below)] == below:
            return Tree("layers", above[len(below) :]), False

        async def make() -> str:
            return await self._compared(below, above)

        layer, hit = await self.layer(self.key("diff", below, above), make, report)
        return Tree("layers", (layer,) if layer else ()), hit

    async def _compared(self, below: tuple[str, ...], above: tuple[str, ...]) -> str:
        room = self._room
        lower = await room.view(await self.shown(Tree("layers", below)))
        upper = await room.view(await self.shown(Tree("layers", above)))
        return await CopiedLayers(room).written(_DIFF, upper, lower)
