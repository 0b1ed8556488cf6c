"""States that are outcomes of graphs: they run when somebody first wants them."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.build.failures import StepFailed
from ketch.build.request.options import ImageInput
from ketch.buildkit.gateway.failed_runs import details
from ketch.buildkit.gateway.states import State
from ketch.buildkit.located import Located
from ketch.engine.builder.graph.trees import EMPTY
from ketch.llb.vertices import ResultSource

if TYPE_CHECKING:
    from ketch.build.executor import Tree
    from ketch.buildkit.gateway.states import States
    from ketch.engine.builder.graph.build import GraphBuild
    from ketch.llb.vertices import Graph


class GraphState(State):
    """One of them; whoever wants it is told what a vertex failed with, and names of the ``states``
    of the command that it was."""

    def __init__(self, build: GraphBuild, graph: Graph, states: States) -> None:
        super().__init__(build.containers, EMPTY)
        self._build = build
        self._graph = graph
        self._states = states
        self._failure: Located | None = None

    async def _solved(self) -> Tree:
        if self._failure is not None:
            raise self._failure
        try:
            return await self._build.solve(self._graph)
        except StepFailed as error:
            self._failure = Located(error)
            if error.run is not None:
                assert self._graph.outcome is not None
                outcome = self._graph.outcome.vertex
                self._failure.details += details(error, self._states, self.containers, outcome)
            raise self._failure from error

    async def tree(self) -> Tree:
        """Its files."""
        return await self._build.solver.trees.shown(await self._solved())

    async def layers(self) -> tuple[str, ...]:
        """Files that were fetched or sent become a layer."""
        return await self._build.solver.layers(await self._solved())


def result_in(graph: Graph) -> ImageInput | None:
    """The image that a graph comes to when it is nothing but a result of another build."""
    if len(graph.vertices) != 1:
        return None
    source = graph.vertices[0].work
    return ImageInput(source.config, source.layers) if isinstance(source, ResultSource) else None
