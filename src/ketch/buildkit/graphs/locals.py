"""Directories of the client's for build graphs: each as its ``local://`` source describes it."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.build.contexts.wanted import EVERYTHING, Paths
from ketch.build.progress.meter import Meter
from ketch.buildkit.session import filesync
from ketch.buildkit.session.receiving import receive_context

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.buildkit.session.sessions import Session, Sessions
    from ketch.engine.builder.contexts.earlier import KeptContexts
    from ketch.engine.builder.workers import BuildWorkers
    from ketch.llb.vertices import LocalSource


class GraphLocals:
    """A ``Source`` without a Dockerfile."""

    def __init__(self, sessions: Sessions, session: Session, contexts: KeptContexts) -> None:
        self._sessions = sessions
        self._session = session
        self._contexts = contexts
        self._sources: list[LocalSource] = []

    def name_of(self, source: LocalSource) -> str:
        """See ``GraphFiles``."""
        if source not in self._sources:
            self._sources.append(source)
        return f"{source.name}#{self._sources.index(source)}"

    def picks(self, name: str) -> bool:
        """What is chosen is said by the graph."""
        return False

    def title(self, path: str) -> str:
        """There is none."""
        return "load build definition"

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """There is none."""
        return b""

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """There is none: a graph says itself what is left out."""
        return b""

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """All that the source describes."""
        source = self._sources[int(name.rpartition("#")[2])]
        session = self._session
        if source.session and source.session != session.id:
            session = await self._sessions.get(source.session)
        meter = Meter(report, f"transferring {source.name}:")
        told = (*source.follow, *(f"+{one}" for one in source.includes))
        earlier = self._contexts.open(session.client, source.name, told)
        try:
            stream = filesync.tar_stream(
                session,
                source.name,
                source.excludes,
                meter,
                earlier,
                source.follow,
                source.includes,
            )
            whose = (session.client, source.name)
            await receive_context(workers, name, stream, self._contexts, earlier, whose, told)
        finally:
            earlier.close()
        meter.end()
