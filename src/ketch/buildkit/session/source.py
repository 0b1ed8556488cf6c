"""The builder's source for a client with a session: its directories, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.build.contexts.ignore import parse_ignore
from ketch.build.contexts.wanted import ALL, EVERYTHING, Paths
from ketch.build.progress.meter import Meter
from ketch.buildkit.session import filesync
from ketch.buildkit.session.receiving import receive_context
from ketch.engine.builder.contexts.source import definition_title
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ketch.build.progress.events import Report
    from ketch.buildkit.session.sessions import Session, Sessions
    from ketch.engine.builder.contexts.earlier import KeptContexts
    from ketch.engine.builder.workers import BuildWorkers

_IGNORE = ".dockerignore"


class Locals:
    """Which session offers a directory: the build's own, but for the names in ``ids``.

    Builds of one client that share a directory (``docker buildx bake``) name one session for it.
    """

    def __init__(
        self, sessions: Sessions, session: Session, ids: Mapping[str, str] | None = None
    ) -> None:
        self._sessions = sessions
        self._session = session
        self._ids = ids or {}

    async def of(self, directory: str) -> Session:
        """Raises ``Unavailable`` when there is no such session."""
        id = self._ids.get(directory, self._session.id)
        return self._session if id == self._session.id else await self._sessions.get(id)


class SessionSource:
    """``dockerfile_dir`` and ``context_dir`` are the client's names of the two directories."""

    def __init__(
        self,
        directories: Locals,
        contexts: KeptContexts,
        dockerfile_dir: str = "dockerfile",
        context_dir: str = "context",
    ) -> None:
        self._locals = directories
        self._contexts = contexts
        self._dockerfile_dir = dockerfile_dir
        self._context_dir = context_dir
        self._ignore: bytes | None = None

    def picks(self, name: str) -> bool:
        """The client sends what it is asked for."""
        return True

    def title(self, path: str) -> str:
        """See ``Source``."""
        return definition_title(path)

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """With the ``.dockerignore`` of its own, if it has one."""
        spare = path.lower() if path == "Dockerfile" else path
        names = list(dict.fromkeys((path, spare, path + _IGNORE)))
        meter = Meter(report, "transferring dockerfile:")
        found = await self._texts(self._dockerfile_dir, names, meter)
        meter.end()
        text = found.get(path, found.get(spare))
        if text is None:
            raise InvalidParameter(
                f"failed to read dockerfile: open {path}: no such file or directory"
            )
        self._ignore = found.get(path + _IGNORE)
        return text

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """The Dockerfile's own, or the context's."""
        if self._ignore is None:
            self._ignore = await self._ignore_of(self._context_dir, Meter())
        return self._ignore

    async def _ignore_of(self, directory: str, meter: Meter) -> bytes:
        found = await self._texts(directory, [_IGNORE], meter)
        meter.end()
        return found.get(_IGNORE, b"")

    async def _texts(self, directory: str, names: list[str], meter: Meter) -> dict[str, bytes]:
        session = await self._locals.of(directory)
        return await filesync.read_texts(session, directory, names, meter)

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """What the ignore file excludes is not sent at all, nor what lies in no path of these."""
        directory = name or self._context_dir
        where = f"context {name}" if name else "internal"
        told = f"transferring {name or 'context'}:"
        if name or self._ignore is None:
            with report.beside(f"[{where}] load .dockerignore") as beside:
                ignore = await self._ignore_of(directory, Meter(beside, told))
            self._ignore = self._ignore if name else ignore
        else:
            ignore = self._ignore
        rules = parse_ignore(ignore)
        patterns = [("!" if rule.exception else "") + rule.text for rule in rules.patterns]
        meter = Meter(report, told)
        session = await self._locals.of(directory)
        follow = () if ALL in paths or not all(map(_is_plain, paths)) else sorted(paths)
        earlier = self._contexts.open(session.client, directory, follow)
        try:
            stream = filesync.tar_stream(session, directory, patterns, meter, earlier, follow)
            whose = (session.client, directory)
            await receive_context(workers, name, stream, self._contexts, earlier, whose, follow)
            workers.received[name]["partial"] = bool(follow)
        finally:
            earlier.close()
        meter.end()


def _is_plain(path: str) -> bool:
    """Whether clients take it for a path, and not for an exception, or trim it."""
    return not path.startswith("!") and path == path.strip()
