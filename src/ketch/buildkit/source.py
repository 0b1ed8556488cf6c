"""The builder's source for a client with a session: its directories, by their names."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketch.build.ignore import parse_ignore
from ketch.buildkit import filesync
from ketch.buildkit.meter import Meter
from ketch.engine.pipes import fed
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from ketch.build.progress import Report
    from ketch.buildkit.sessions import Session
    from ketch.engine.builder.workers import BuildWorkers

_IGNORE = ".dockerignore"
_CONTEXT = "transferring context:"


class SessionSource:
    """``dockerfile_dir`` and ``context_dir`` are the client's names of the two directories."""

    def __init__(
        self, session: Session, dockerfile_dir: str = "dockerfile", context_dir: str = "context"
    ) -> None:
        self._session = session
        self._dockerfile_dir = dockerfile_dir
        self._context_dir = context_dir
        self._ignore: bytes | None = None

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """With the ``.dockerignore`` of its own, if it has one."""
        spare = path.lower() if path == "Dockerfile" else path
        names = list(dict.fromkeys((path, spare, path + _IGNORE)))
        meter = Meter(report, "transferring dockerfile:")
        found = await filesync.read_texts(self._session, self._dockerfile_dir, names, meter)
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
        found = await filesync.read_texts(self._session, directory, [_IGNORE], meter)
        meter.end()
        return found.get(_IGNORE, b"")

    async def files(self, workers: BuildWorkers, name: str, report: Report) -> None:
        """What the ignore file excludes is not sent at all."""
        directory = name or self._context_dir
        if name or self._ignore is None:
            with report.beside("[internal] load .dockerignore") as beside:
                ignore = await self._ignore_of(directory, Meter(beside, _CONTEXT))
        else:
            ignore = self._ignore
        rules = parse_ignore(ignore)
        patterns = [("!" if rule.exception else "") + rule.text for rule in rules.patterns]
        meter = Meter(report, _CONTEXT)
        stream = filesync.tar_stream(self._session, directory, patterns, meter)

        async def receive(fd: int) -> Any:
            return await workers.receive_image(fd, name)

        await fed(stream, receive)
        meter.end()
