"""Sources of a graph: images, the client's directories, repositories, files by URL."""

from __future__ import annotations

import asyncio
import os
import shutil
from typing import TYPE_CHECKING, Protocol

from ketch.build.contexts.wanted import EVERYTHING
from ketch.build.executor import Tree
from ketch.build.request.options import ImageInput
from ketch.engine.builder.contexts.source import Source
from ketch.engine.builder.room import ContextLoad
from ketch.engine.storing import storing
from ketch.errors import NotFound
from ketch.llb import vertices as llb

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.executor import BuildExecutor

SOURCES = (
    llb.ImageSource,
    llb.LocalSource,
    llb.GitSource,
    llb.HttpSource,
    llb.LayoutSource,
    llb.ResultSource,
    llb.FailureSource,
)


class GraphFiles(Source, Protocol):
    """The source of a graph's room: directories by what the graph says of them."""

    def name_of(self, source: llb.LocalSource) -> str:
        """By which ``files`` knows it; the same for the same files."""


class GraphSources:
    """Those of one build."""

    def __init__(self, room: BuildRoom, executor: BuildExecutor, files: GraphFiles) -> None:
        self._room = room
        self._executor = executor
        self._files = files

    async def bring(self, source: llb.Source, platform: str, report: Report) -> Tree:
        """Its files; raises what fetching raises."""
        if isinstance(source, llb.ImageSource):
            pull = source.pull
            image = await self._executor.base(source.reference, platform, pull=pull, report=report)
            return Tree("layers", image.layers)
        if isinstance(source, llb.LocalSource):
            return await self._local(source, report)
        if isinstance(source, llb.GitSource):
            return await self._executor.clone(
                source.url,
                source.checksum,
                keep_git_dir=source.keep_git_dir,
                report=report,
                known_hosts=source.known_hosts,
            )
        if isinstance(source, llb.HttpSource):
            return await self._http(source)
        if isinstance(source, llb.LayoutSource):
            image = await self._executor.of_layout(source.value, platform, report)
            return Tree("layers", image.layers)
        if isinstance(source, llb.ResultSource):
            image = self._executor.of_input(ImageInput(source.config, source.layers))
            return Tree("layers", image.layers)
        raise NotFound(f"the result {source.name} of another build has failed")

    async def _local(self, source: llb.LocalSource, report: Report) -> Tree:
        """Its vertex tells of the transfer, which the room need not begin by itself."""
        room, name = self._room, self._files.name_of(source)
        load = next((one for one in room.loads if one.name == name), None)
        if load is None:
            bringing = asyncio.ensure_future(room.source.files(room.workers, name, report))
            load = ContextLoad(name, EVERYTHING, bringing)
            room.loads.append(load)
        await asyncio.shield(load.task)
        return Tree("context", name=name)

    async def _http(self, source: llb.HttpSource) -> Tree:
        tree = await self._executor.fetch(source.url, source.filename, source.checksum)
        if (source.mode, source.uid, source.gid) == (0o600, 0, 0):
            return tree
        path = f"{self._room.directory}/{tree.handle}/{source.filename}"
        with storing(f"what {source.url} has"):
            await asyncio.to_thread(_own_copy, path, source)
        return tree


def _own_copy(path: str, source: llb.HttpSource) -> None:
    """The file may be another name of one that is kept, which must stay as it is."""
    kept = f"{path[: path.rindex('/')]}.kept"
    os.rename(path, kept)
    try:
        shutil.copy2(kept, path)
    finally:
        os.unlink(kept)
    os.chown(path, source.uid, source.gid)
    os.chmod(path, source.mode)
