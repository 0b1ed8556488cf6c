"""Where a build's Dockerfile and files come from."""

from __future__ import annotations

from base64 import b64decode
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING, Any, Protocol

from ketch.build.contexts.wanted import EVERYTHING, Paths
from ketch.build.progress.events import Report
from ketch.engine.builder.contexts.seen import LARGEST, Archive
from ketch.engine.builder.workers import directory_of
from ketch.engine.pipes import fed
from ketch.engine.storing import storing
from ketch.errors import DataCorrupt, InvalidParameter, NotFound

if TYPE_CHECKING:
    from ketch.engine.builder.contexts.download import Download
    from ketch.engine.builder.workers import BuildWorkers


class Source(Protocol):
    """A client's files. ``dockerfile`` is called first, ``files`` when a step wants some.

    Files arrive through a worker (``BuildWorkers.receive`` and ``receive_image``). Where it
    ``picks``, ``files`` brings some paths alone, and may be called again for all of them.
    """

    def picks(self, name: str) -> bool:
        """Whether a context's files are chosen by their paths."""

    def title(self, path: str) -> str:
        """What bringing the Dockerfile is called."""

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """The Dockerfile's bytes; raises ``InvalidParameter`` when there is none.

        With an empty path it may only bring the context, and answer nothing.
        """

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """The ignore file that goes with the Dockerfile; empty when there is none."""

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """Bring the build context ("") or another local directory of the client's by its name."""


REMOTE_CONTEXT = "load remote build context"


def definition_title(path: str) -> str:
    """What bringing a Dockerfile by itself is called."""
    return f"load build definition from {path}"


class TarSource:
    """Everything in one tar stream (plain, gzip, bzip2, xz or zstd), Dockerfile included, and the
    ``named`` contexts below ``.ketch-contexts/`` and their names in hexadecimal."""

    def __init__(
        self,
        stream: AsyncIterator[bytes],
        named: Iterable[str] = (),
        directory: str = "",
        title: str = "",
        name: str = "",
        origin: Download | None = None,
    ) -> None:
        """``directory`` is for files, ``name`` that of the context which this is for the build,
        ``origin`` what the stream is read from, if it is not the request."""
        self.origin = origin
        self._name = name
        self._stream = stream
        self._title = title
        self._directory = directory
        self._named = frozenset(named)
        self._ignore = b""

    def picks(self, name: str) -> bool:
        """All comes in one stream."""
        return False

    def title(self, path: str) -> str:
        """See ``Source``."""
        return self._title or definition_title(path)

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """Takes the context too, since nobody knows where in the stream the Dockerfile is."""

        async def receive(stream: int) -> Any:
            with storing("the build context"):
                if self._is_plain:
                    return await workers.receive_image(stream, self._name, path)
                asked: dict[str, Any] = {"dockerfile": path}
                asked["directory"] = self._directory or directory_of("")
                asked["contexts"] = {name: directory_of(name) for name in self._named}
                return await workers.receive(stream, **asked)

        first, ended = await _begin(self._stream)
        try:
            if ended and self._is_plain:
                with storing("the build context"):
                    found = await workers.receive_archive(Archive(first, path), self._name)
            else:
                found = await fed(_chain(first, self._stream), receive)
        except (NotFound, DataCorrupt) as error:  # the route is there, whatever the context is
            raise InvalidParameter(str(error)) from None
        if self.origin is not None:
            await self.origin.finish()
        self._ignore = b64decode(found.get("ignore", ""))
        return b64decode(found.get("dockerfile", ""))

    @property
    def _is_plain(self) -> bool:
        """Whether the stream is nothing but the build's own context."""
        return not self._named and not self._directory

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """Found with the Dockerfile."""
        return self._ignore

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """The context is there already."""
        if name and name not in self._named:
            raise InvalidParameter(f"the build has no context named {name!r}")


async def _begin(stream: AsyncIterator[bytes]) -> tuple[bytes, bool]:
    """The first bytes of a stream, and whether they are all: of a small one."""
    pieces: list[bytes] = []
    size = 0
    async for piece in stream:
        pieces.append(piece)
        size += len(piece)
        if size > LARGEST:
            return b"".join(pieces), False
    return b"".join(pieces), True


async def _chain(first: bytes, rest: AsyncIterator[bytes]) -> AsyncIterator[bytes]:
    yield first
    async for piece in rest:
        yield piece
