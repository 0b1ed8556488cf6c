"""The place where the graphs of one job run, made when the first of them comes."""

from __future__ import annotations

import asyncio
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

from ketch.buildkit.frontend.solve_options import graph_options
from ketch.buildkit.graphs.locals import GraphLocals
from ketch.buildkit.telling import told

if TYPE_CHECKING:
    from ketch.build.request.options import BuildOptions
    from ketch.buildkit.jobs import Job
    from ketch.buildkit.session.sessions import Sessions
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.graph.build import GraphBuild


class JobGraphs:
    """See the module's docstring. ``options`` are those of the job's exports."""

    def __init__(self, builder: Builder, sessions: Sessions, job: Job) -> None:
        self._builder = builder
        self._sessions = sessions
        self._job = job
        self._stack = AsyncExitStack()
        self._opening = asyncio.Lock()
        self._build: GraphBuild | None = None
        self.is_recorded = True
        self.frontend = ""  # that made them, if it was not the client

    @property
    def opened(self) -> GraphBuild | None:
        """If there were graphs."""
        return self._build

    async def build(self) -> GraphBuild:
        """Raises what is wrong with the job's options."""
        async with self._opening:
            if self._build is None:
                self._build = await self._open(graph_options(self._job.request))
            return self._build

    async def _open(self, options: BuildOptions) -> GraphBuild:
        job = self._job
        session = await self._sessions.get(job.request.Session)
        channel = await self._stack.enter_async_context(told(job))
        source = GraphLocals(self._sessions, session, self._builder.contexts)
        ref = job.request.Ref if self.is_recorded and not job.request.Internal else None
        opening = self._builder.graphs(source, options, session, channel, ref)
        return await self._stack.enter_async_context(opening)

    async def close(self) -> None:
        """End what runs there; all that was found is gone."""
        await self._stack.aclose()
