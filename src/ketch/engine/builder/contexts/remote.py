"""Build contexts that the engine fetches: git repositories, archives and Dockerfiles by URL."""

from __future__ import annotations

import io
import tarfile
from base64 import b64decode
from collections.abc import AsyncIterator, Mapping
from typing import TYPE_CHECKING

from ketch.build.contexts.accounts import without_account
from ketch.build.contexts.git_remote import is_git, parse_remote
from ketch.build.contexts.wanted import EVERYTHING, Paths
from ketch.engine.builder.contexts.download import Download
from ketch.engine.builder.contexts.source import REMOTE_CONTEXT, Source, TarSource
from ketch.engine.builder.workers import directory_of
from ketch.engine.http_get import chunks
from ketch.errors import InvalidParameter, NotFound, Unsupported

if TYPE_CHECKING:
    from ketch.build.contexts.git_remote import GitRemote
    from ketch.build.progress.events import Report
    from ketch.engine.builder.workers import BuildWorkers

_MAGICS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")
_LARGEST_TEXT = 4 << 20


_KEEP_GIT_DIR = "BUILDKIT_CONTEXT_KEEP_GIT_DIR"


def remote_source(url: str, build_args: Mapping[str, str | None]) -> Source:
    """What a URL as a build context means; raises ``InvalidParameter``, ``Unsupported``.

    A build argument says whether a repository keeps its ``.git``.
    """
    if is_git(url):
        keep = build_args.get(_KEEP_GIT_DIR) in ("1", "true")
        return GitSource(url, parse_remote(url, keep_git_dir=keep))
    if url.lower().startswith(("http://", "https://")):
        download = Download(url, chunks(url))
        return TarSource(archive(url, download), title=REMOTE_CONTEXT, origin=download)
    raise Unsupported(f"the build context {url!r} is of a kind that is not supported")


class GitSource:
    """A commit of a repository."""

    def __init__(self, url: str, remote: GitRemote) -> None:
        self._url = url
        self.remote = remote
        self.commit = ""  # as soon as it is known
        self._ignore = b""

    def picks(self, name: str) -> bool:
        """All of a repository is fetched."""
        return False

    def title(self, path: str) -> str:
        """See ``Source``."""
        return f"load git source {without_account(self._url)}"

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """Clones; the Dockerfile is of the repository."""
        tree = directory_of("")
        self.commit = await workers.cloner.clone(self.remote, tree)
        report.status("", f"{self.commit} {self.remote.ref or 'HEAD'}")
        try:
            found = await workers.ask("adopt", tree=tree, dockerfile=path)
        except NotFound as error:
            raise InvalidParameter(str(error)) from None
        self._ignore = b64decode(found.get("ignore", ""))
        return b64decode(found.get("dockerfile", ""))

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """Found with the Dockerfile."""
        return self._ignore

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """They are there already."""
        if name:
            raise InvalidParameter(f"the build has no context named {name!r}")


class WithDirectories:
    """A context that is fetched, Dockerfile and all, beside directories of the client's."""

    def __init__(self, context: Source, directories: Source) -> None:
        self.context = context
        self._directories = directories

    def picks(self, name: str) -> bool:
        """As whoever brings it."""
        return (self._directories if name else self.context).picks(name)

    def title(self, path: str) -> str:
        """The context's."""
        return self.context.title(path)

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """The context's."""
        return await self.context.dockerfile(workers, path, report)

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """The context's."""
        return await self.context.ignore(workers, path)

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """Named directories are the client's."""
        source = self._directories if name else self.context
        await source.files(workers, name, report, paths)


class OwnDockerfile:
    """A context that the engine fetches, built by a Dockerfile of the client's."""

    def __init__(self, dockerfiles: Source, context: Source) -> None:
        self._dockerfiles = dockerfiles
        self.context = context

    def picks(self, name: str) -> bool:
        """As whoever brings it."""
        return bool(name) and self._dockerfiles.picks(name)

    def title(self, path: str) -> str:
        """The client's."""
        return self._dockerfiles.title(path)

    async def dockerfile(self, workers: BuildWorkers, path: str, report: Report) -> bytes:
        """The client's."""
        return await self._dockerfiles.dockerfile(workers, path, report)

    async def ignore(self, workers: BuildWorkers, path: str) -> bytes:
        """Nothing is left out of a context that is not sent."""
        return b""

    async def files(
        self, workers: BuildWorkers, name: str, report: Report, paths: Paths = EVERYTHING
    ) -> None:
        """The build's own context is fetched, others are the client's."""
        if name:
            await self._dockerfiles.files(workers, name, report, paths)
        else:
            await self.context.dockerfile(workers, "", report)


async def archive(url: str, download: Download | None = None) -> AsyncIterator[bytes]:
    """A tar archive as it is; anything else is a Dockerfile, as the only file of one."""
    stream = chunks(url) if download is None else download.pieces()
    head = b""
    async for chunk in stream:
        head += chunk
        if len(head) >= tarfile.BLOCKSIZE:
            break
    if head.startswith(_MAGICS) or head[257:262] == b"ustar":
        yield head
        async for chunk in stream:
            yield chunk
        return
    async for chunk in stream:
        head += chunk
        if len(head) > _LARGEST_TEXT:
            raise InvalidParameter(f"{url} is no archive, and too large for a Dockerfile")
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size, info.mode = len(head), 0o644
        tar.addfile(info, io.BytesIO(head))
    yield out.getvalue()
