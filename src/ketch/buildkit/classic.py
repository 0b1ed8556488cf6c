"""BuildKit builds through ``POST /build?version=2``: what docker's command line did before buildx.

The client may open a session, and name it in the request; the answer's lines hold status messages.
A context on the client's standard input comes as the body of a second request, which waits here for
the build that wants it.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING

import msgspec

from ketch.build.request.options import BY_SESSION, UPLOADED
from ketch.buildkit.session.source import Locals, SessionSource
from ketch.buildkit.status import StatusWriter
from ketch.engine.builder.contexts.remote import remote_source
from ketch.engine.builder.contexts.source import Source, TarSource
from ketch.errors import Conflict, NotFound

if TYPE_CHECKING:
    from ketch.build.request.options import BuildOptions
    from ketch.buildkit.session.sessions import Sessions
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.running import RunningBuild

_PATIENCE = 30.0  # seconds that a build waits for its context, and the reverse


class _Upload:
    """A context under way."""

    def __init__(self, stream: AsyncIterator[bytes]) -> None:
        self.stream = stream
        self.taken = asyncio.Event()
        self.done = asyncio.Event()


class ClassicBuilds:
    """The running ones, by the name that their clients gave them."""

    def __init__(self, builder: Builder, sessions: Sessions) -> None:
        self._builder = builder
        self._sessions = sessions
        self._running: dict[str, RunningBuild] = {}
        self._uploads: dict[str, _Upload] = {}
        self._changed = asyncio.Condition()

    async def run(
        self,
        options: BuildOptions,
        session_id: str,
        name: str,
        body: AsyncIterator[bytes] | None,
    ) -> AsyncIterator[bytes | str]:
        """Status messages in wire form, and at last the image's ID; raises what ended the build.

        The context is what ``options.remote`` says: the session's, an upload, a URL; else the
        request's ``body``.
        """
        session = await self._sessions.get(session_id) if session_id else None
        upload = await self._upload(name) if options.remote == UPLOADED else None
        source: Source
        if body is not None:
            source = TarSource(body)
        elif upload is not None:
            source = TarSource(upload.stream)
        elif session is not None and options.remote == BY_SESSION:
            source = SessionSource(Locals(self._sessions, session), self._builder.contexts)
        else:
            source = remote_source(options.remote, options.build_args)
        if options.remote in (UPLOADED, BY_SESSION):
            options = msgspec.structs.replace(options, remote="")
        try:
            async with self._builder.running(source, options, session) as build:
                self._running[name] = build
                try:
                    writer = StatusWriter()
                    async for event in build.events():
                        yield writer.response(event).encode()
                    yield (await build.built()).image
                finally:
                    if self._running.get(name) is build:
                        del self._running[name]
        finally:
            if upload is not None:
                upload.done.set()

    async def _upload(self, name: str) -> _Upload:
        try:
            async with asyncio.timeout(_PATIENCE), self._changed:
                await self._changed.wait_for(lambda: name in self._uploads)
                upload = self._uploads[name]
        except TimeoutError:
            raise NotFound(f"the context of build {name} did not come") from None
        upload.taken.set()
        return upload

    async def upload(self, name: str, stream: AsyncIterator[bytes]) -> None:
        """Hold a context until its build has taken it, or is over.

        Raises ``Conflict`` when there is one of that name, ``NotFound`` when no build takes it.
        """
        upload = _Upload(stream)
        async with self._changed:
            if name in self._uploads:
                raise Conflict(f"the context of build {name} is here already")
            self._uploads[name] = upload
            self._changed.notify_all()
        try:
            async with asyncio.timeout(_PATIENCE):
                await upload.taken.wait()
            await upload.done.wait()
        except TimeoutError:
            raise NotFound(f"no build took the context of build {name}") from None
        finally:
            del self._uploads[name]

    async def cancel(self, name: str) -> None:
        """End a build; one that is not there is no error."""
        build = self._running.get(name)
        if build is not None:
            await build.cancel()
