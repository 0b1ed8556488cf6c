"""The solver of build graphs: each vertex once, as soon as its inputs are there.

Vertices are tasks by their digests, which several graphs of one client share. What they come to is
found and kept by what went into it, as the steps of a Dockerfile (``Executor.outcome``), so that
caches, builds side by side and exports of the cache know no difference.
"""

from __future__ import annotations

import asyncio
from contextlib import suppress
from typing import TYPE_CHECKING

from ketch.build.executor import Tree
from ketch.build.failures import vertex_error
from ketch.build.progress.events import Report
from ketch.build.progress.events import Vertex as Shown
from ketch.engine.builder.graph.changes import GraphChanges
from ketch.engine.builder.graph.execs import GraphExecs
from ketch.engine.builder.graph.sources import SOURCES, GraphSources
from ketch.engine.builder.graph.trees import EMPTY, GraphTrees
from ketch.engine.builder.steps.looking import Looking
from ketch.errors import InvalidParameter
from ketch.llb import vertices as llb
from ketch.llb.graph import graph_of
from ketch.llb.messages import Definition

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.engine.builder.graph.sources import GraphFiles
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.executor import BuildExecutor
    from ketch.engine.builder.steps.run import StepRunner

_DEEPEST = 8  # graphs in files of graphs
Outputs = dict[int, Tree]


class GraphSolver:
    """Of one build's room; ``close`` ends what runs."""

    def __init__(
        self, room: BuildRoom, executor: BuildExecutor, runner: StepRunner, files: GraphFiles
    ) -> None:
        self._room = room
        self.trees = GraphTrees(room, executor)
        self._sources = GraphSources(room, executor, files)
        self._execs = GraphExecs(room, executor, runner, self.trees)
        self._changes = GraphChanges(room, executor, self.trees)
        self._tasks: dict[str, asyncio.Task[Outputs]] = {}
        self._waits: dict[str, set[str]] = {}  # vertex → those that it waits for

    async def solve(self, graph: llb.Graph, depth: int = 0) -> Tree:
        """The outcome's files; raises what a vertex failed with. What is cancelled goes on for
        others until the build is closed."""
        if graph.outcome is None:
            return EMPTY
        for vertex in graph.vertices:
            if vertex.digest not in self._tasks:
                task = asyncio.create_task(self._run(vertex, depth))
                task.add_done_callback(_seen)
                self._tasks[vertex.digest] = task
                self._waits[vertex.digest] = {edge.vertex for edge in vertex.inputs}
        return await self._tree(graph.outcome)

    async def layers(self, tree: Tree) -> tuple[str, ...]:
        """An outcome as layers, to be exported."""
        if tree.kind == "layers":
            return tree.layers
        report = self._room.reporting("[internal] files of the result")
        try:
            return await self.trees.layers(tree, report)
        finally:
            report.end()

    async def _tree(self, edge: llb.Edge) -> Tree:
        task = self._tasks[edge.vertex]
        await asyncio.wait({task})
        return task.result()[edge.output]

    async def _run(self, vertex: llb.Vertex, depth: int) -> Outputs:
        inputs = [await self._tree(edge) for edge in vertex.inputs]
        shown = Shown(
            digest=vertex.digest,
            name=vertex.name,
            inputs=tuple(dict.fromkeys(edge.vertex for edge in vertex.inputs)),
            platform=vertex.platform,
        )
        report = Report(self._room.sink, shown)
        try:
            outputs, hit = await self._done(vertex, inputs, report, depth)
        except BaseException as error:
            report.end(error=vertex_error(error))
            raise
        if hit:
            report.cached()
        report.end()
        return outputs

    async def _done(
        self, vertex: llb.Vertex, inputs: Sequence[Tree], report: Report, depth: int
    ) -> tuple[Outputs, bool]:
        work = vertex.work
        if isinstance(work, SOURCES):
            return {0: await self._sources.bring(work, vertex.platform, report)}, False
        if isinstance(work, llb.Exec):
            return await self._execs.run(vertex, inputs, report)
        if isinstance(work, llb.Files):
            return await self._changes.run(vertex, inputs, report)
        if isinstance(work, llb.Merge):
            trees = [_input(inputs, place) for place in work.inputs]
            return {0: await self.trees.merged(trees, report)}, False
        if isinstance(work, llb.Diff):
            lower, upper = _input(inputs, work.lower), _input(inputs, work.upper)
            tree, hit = await self.trees.difference(lower, upper, report)
            return {0: tree}, hit
        assert isinstance(work, llb.Build)
        graph = await self._found(work, _input(inputs, work.input), depth)
        self._check_cycle(vertex.digest, graph)
        return {0: await self.solve(graph, depth + 1)}, False

    async def _found(self, build: llb.Build, tree: Tree, depth: int) -> llb.Graph:
        """The graph that lies in a file."""
        if depth >= _DEEPEST:
            raise InvalidParameter(f"build ops are nested deeper than {_DEEPEST}: refused")
        shown = await self.trees.shown(tree)
        seen = await Looking(self._room).look(shown, build.path, 0, -1)
        return graph_of(Definition.decode(seen.data))

    def _check_cycle(self, digest: str, graph: llb.Graph) -> None:
        """A file may hold the very graph that names it, or two files each other's: whoever waited
        would wait for ever. Raises ``InvalidParameter``."""
        static = {v.digest: {edge.vertex for edge in v.inputs} for v in graph.vertices}
        self._waits[digest] |= set(static)
        seen: set[str] = set()
        left = list(static)
        while left:
            here = left.pop()
            if here == digest:
                raise InvalidParameter("a build op needs its own outcome: refused")
            if here not in seen:
                seen.add(here)
                left += self._waits.get(here) or static.get(here, set())

    async def close(self) -> None:
        """End what still runs."""
        for task in self._tasks.values():
            task.cancel()
        await asyncio.gather(*self._tasks.values(), return_exceptions=True)


def _input(inputs: Sequence[Tree], place: int) -> Tree:
    return EMPTY if place == llb.EMPTY else inputs[place]


def _seen(task: asyncio.Task[Outputs]) -> None:
    """A failure is told to whoever wants the outcome, if anybody does."""
    with suppress(asyncio.CancelledError):
        task.exception()
