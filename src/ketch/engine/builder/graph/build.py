"""A build whose steps come as graphs: of a client that drives it, or of a front end."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

import msgspec

from ketch.build.failures import vertex_error
from ketch.build.progress.events import Report, Vertex, vertex_digest
from ketch.engine.builder.history.files import failure_of
from ketch.engine.builder.history.records import COMPLETED, ERROR
from ketch.engine.builder.outcome.export import Exporting
from ketch.engine.builder.outcome.invocation import begun_graph

if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.build.executor import BaseImage, Tree
    from ketch.build.solver import Built
    from ketch.engine.builder.graph.solver import GraphSolver
    from ketch.engine.builder.history.records import Recording
    from ketch.engine.builder.outcome.result import Result
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.container import Containers
    from ketch.engine.builder.steps.executor import BuildExecutor
    from ketch.llb.vertices import Graph


class GraphBuild:
    """One of them, while its room is open. ``containers`` opens those of the client's."""

    def __init__(
        self,
        room: BuildRoom,
        executor: BuildExecutor,
        solver: GraphSolver,
        containers: Containers,
        recording: Recording,
    ) -> None:
        self.containers = containers
        self.solver = solver
        self._room = room
        self._executor = executor
        self._recording = recording
        self._exports = 0
        self._begun = begun_graph(room, recording.record.ref, "")

    async def solve(self, graph: Graph) -> Tree:
        """What a graph comes to; raises what ended it."""
        return await self.solver.solve(graph)

    async def image(self, reference: str, title: str) -> BaseImage:
        """An image, pulled if it is not here."""
        with self._telling(title) as report:
            return await self._executor.base(reference, "", pull=False, report=report)

    async def describe(
        self, reference: str, platform: str, title: str, *, pull: bool = False
    ) -> tuple[str, bytes]:
        """Digest and configuration of an image: of one that is here "", which its name means then
        too; of others as its registry has them, and nothing is pulled. Raises ``NotFound``."""
        with self._telling(title):
            return await self._executor.describe(reference, platform, pull=pull)

    async def describe_layout(self, value: str, platform: str, title: str) -> tuple[str, bytes]:
        """The same of an image in a layout of the client's."""
        with self._telling(title) as report:
            image = await self._executor.of_layout(value, platform, report)
            return value.rpartition("@")[2], image.config

    @contextmanager
    def _telling(self, title: str) -> Iterator[Report]:
        report = self._reporting(title)
        try:
            yield report
        except BaseException as error:
            report.end(error=vertex_error(error))
            raise
        report.end()

    async def inline(self, files: tuple[tuple[str, bytes], ...]) -> Tree:
        """Files of the engine's own."""
        return await self._executor.inline(files)

    async def export(self, results: Sequence[Result], frontend: str) -> Built:
        """Store, push, send what the client asked for; ``frontend`` is who made the results, for
        their provenance. The end of the build."""
        for result in results:
            self._room.hold(result.layers)
        call = msgspec.structs.replace(self._begun, frontend=frontend)
        exporting = Exporting(self._room, self._executor, call)
        try:
            built = await exporting.run(results, self._reporting)
        except Exception as error:
            self.failed(error)
            raise
        files = exporting.kept(results, stored=bool(built.image))
        self._recording.end(COMPLETED, image=built.image, files=files)
        return built

    def _reporting(self, title: str) -> Report:
        self._exports += 1
        digest = vertex_digest(self._room.directory, "export", self._exports)
        return Report(self._room.sink, Vertex(digest=digest, name=title))

    def failed(self, error: Exception) -> None:
        """The build ended so."""
        self._recording.end(ERROR, error=vertex_error(error), failure=failure_of(error))

    def done(self) -> None:
        """The client wanted nothing to be exported."""
        self._recording.end(COMPLETED)
