"""BuildKit's face of the engine: connections that speak gRPC, and sessions."""

from __future__ import annotations

import socket
from collections.abc import AsyncIterator, Iterable
from typing import TYPE_CHECKING

from ketch.buildkit.classic import ClassicBuilds
from ketch.buildkit.service import Service
from ketch.buildkit.session.sessions import Sessions
from ketch.buildkit.wire import ServedConnection

if TYPE_CHECKING:
    from ketch.build.request.options import BuildOptions
    from ketch.engine.builder.builder import Builder


class BuildkitFront:
    """Serves one builder; made when the first client comes, since gRPC costs memory."""

    def __init__(self, builder: Builder) -> None:
        self._sessions = Sessions()
        self._classic = ClassicBuilds(builder, self._sessions)
        self._methods = Service(builder, self._sessions).methods()

    async def serve(self, sock: socket.socket, head: bytes) -> None:
        """gRPC (HTTP/2 without TLS) on a connected socket, until the client closes it."""
        await ServedConnection(self._methods).serve(sock, head)

    async def session(self, sock: socket.socket, headers: Iterable[tuple[str, str]]) -> None:
        """A session: the client serves, until it closes the connection."""
        await self._sessions.serve(sock, headers)

    def build(
        self,
        options: BuildOptions,
        session_id: str,
        name: str,
        body: AsyncIterator[bytes] | None,
    ) -> AsyncIterator[bytes | str]:
        """See ``ketch.buildkit.classic``."""
        return self._classic.run(options, session_id, name, body)

    async def upload(self, name: str, stream: AsyncIterator[bytes]) -> None:
        """See ``ketch.buildkit.classic``."""
        await self._classic.upload(name, stream)

    async def cancel(self, name: str) -> None:
        """See ``ketch.buildkit.classic``."""
        await self._classic.cancel(name)
