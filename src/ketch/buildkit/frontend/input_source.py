"""A Dockerfile and a build context that are graphs: inputs ``dockerfile`` and ``context`` of the
Dockerfile front end (BuildKit's frontend/dockerui)."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from ketch.build.contexts.wanted import EVERYTHING, Paths
from ketch.buildkit.graphs.files import fetched_files, outcome_digest
from ketch.engine.builder.contexts.remote import OwnDockerfile
from ketch.engine.builder.contexts.source import definition_title
from ketch.engine.pipes import fed
from ketch.errors import InvalidParameter, NotFound

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.buildkit.frontend.asked import Asked
    from ketch.buildkit.gateway.holdings import Holdings
    from ketch.buildkit.gateway.states import State
    from ketch.engine.builder.contexts.source import Source
    from ketch.engine.builder.workers import BuildWorkers

_IGNORE = ".dockerignore"
_FILE, _CONTEXT = "dockerfile", "context"


async def with_input_files(own: Source, asked: Asked, held: Holdings) -> Source:
    """``own``, but for what comes by graphs, which run when it is wanted. A context that is fetched
    is ``own``'s, with the Dockerfile in it unless that is another graph."""

    async def state(name: str) -> State | None:
        return held.states.get(await held.found(inputs[name])) if name in inputs else None

    inputs = dict(asked.inputs)
    is_fetched = _CONTEXT in inputs and fetched_files(inputs[_CONTEXT]) is not None
    if is_fetched and outcome_digest(inputs.pop(_CONTEXT)) == outcome_digest(inputs.get(_FILE)):
        return own
    dockerfile, context = await state(_FILE), await state(_CONTEXT)
    if dockerfile is None and context is None:
        return own
    found = InputSource(own, dockerfile or context, context)
    return OwnDockerfile(found, own) if is_fetched else found


class InputSource:
    """A ``Source`` with a Dockerfile, and perhaps a context, of states."""

    def __init__(self, own: Source, dockerfile: State | None, context: State | None) -> None:
        self._own = own
        self._dockerfile = dockerfile
        self._context = context
        self._path = ""

    def picks(self, name: str) -> bool:
        """A state is taken as a whole."""
        return self._own.picks(name) if name or self._context is None else False

    def title(self, path: str) -> str:
        """See ``Source``."""
        return definition_title(path)

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """Raises ``InvalidParameter`` when there is none."""
        self._path = path
        assert self._dockerfile is not None
        try:
            return (await self._dockerfile.look(path, 0, -1)).data
        except NotFound:
            raise InvalidParameter(
                f"failed to read dockerfile: open {path}: no such file or directory"
            ) from None

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """The Dockerfile's own, or the context's."""
        places = ((self._dockerfile, path + _IGNORE), (self._context, _IGNORE))
        for state, name in places:
            if state is not None:
                try:
                    return (await state.look(name, 0, -1)).data
                except NotFound:
                    continue
        return b"" if self._context is not None else await self._own.ignore(workers, path)

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """The context's, without what the ignore file excludes."""
        if name or self._context is None:
            await self._own.files(workers, name, report, paths)
            return
        ignore = await self.ignore(workers, self._path)
        looking = self._context.containers.looking
        stream = await looking.archive(await self._context.tree(), ignore)

        async def receive(fd: int) -> Any:
            return await workers.receive_image(fd, "")

        try:
            await fed(stream, receive)
        finally:
            await stream.aclose()  # type: ignore[attr-defined]
