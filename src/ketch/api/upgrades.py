"""Connections that leave HTTP for gRPC: what the API hands them to.

The API knows nothing of what is spoken there; the daemon wires a front (``ketch.buildkit``) that is
made when the first client comes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import AsyncIterator, Callable, Coroutine, Iterable
from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from ketch.build.request.options import BuildOptions

_log = logging.getLogger(__name__)


class GrpcFront(Protocol):
    """Who takes the connections; both methods run until the client closes its own."""

    async def serve(self, sock: socket.socket, head: bytes) -> None:
        """Serve gRPC; ``head`` is what was read of the socket already."""

    async def session(self, sock: socket.socket, headers: Iterable[tuple[str, str]]) -> None:
        """Call the client on it, which serves; ``headers`` are those of its request."""

    def build(
        self,
        options: BuildOptions,
        session_id: str,
        name: str,
        body: AsyncIterator[bytes] | None,
    ) -> AsyncIterator[bytes | str]:
        """Build, with a session or without (""); status messages in wire form, and at last the
        image's ID. ``body`` is the context when ``options.remote`` is empty."""

    async def upload(self, name: str, stream: AsyncIterator[bytes]) -> None:
        """Hold the context of a build until that has taken it."""

    async def cancel(self, name: str) -> None:
        """End a build by its name."""


class Upgrades:
    """Runs what left HTTP in tasks of its own."""

    def __init__(self, make: Callable[[], GrpcFront]) -> None:
        self._make = make
        self._front: GrpcFront | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, sock: socket.socket, head: bytes) -> None:
        """A connection on which the client calls."""
        self._run(self.front().serve(sock, head))

    def session(self, sock: socket.socket, headers: Iterable[tuple[str, str]]) -> None:
        """A connection on which the client is called."""
        self._run(self.front().session(sock, list(headers)))

    def front(self) -> GrpcFront:
        """Who takes them, made when it is first wanted."""
        if self._front is None:
            self._front = self._make()
        return self._front

    def _run(self, work: Coroutine[Any, Any, None]) -> None:
        task = asyncio.get_running_loop().create_task(work)
        self._tasks.add(task)
        task.add_done_callback(self._ended)

    def _ended(self, task: asyncio.Task[None]) -> None:
        self._tasks.discard(task)
        if not task.cancelled() and (error := task.exception()) is not None:
            _log.warning("a gRPC connection ended: %s", error)

    async def close(self) -> None:
        """End all of them."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
