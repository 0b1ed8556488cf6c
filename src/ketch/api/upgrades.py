"""Connections that leave HTTP for gRPC: what the API hands them to.

The API knows nothing of what is spoken there; the daemon wires a front (``ketch.buildkit``) that is
made when the first client comes.
"""

from __future__ import annotations

import asyncio
import logging
import socket
from collections.abc import Callable, Coroutine, Iterable
from typing import Any, Protocol

_log = logging.getLogger(__name__)


class GrpcFront(Protocol):
    """Who takes the connections; both methods run until the client closes its own."""

    async def serve(self, sock: socket.socket, head: bytes) -> None:
        """Serve gRPC; ``head`` is what was read of the socket already."""

    async def session(self, sock: socket.socket, headers: Iterable[tuple[str, str]]) -> None:
        """Call the client on it, which serves; ``headers`` are those of its request."""


class Upgrades:
    """Runs what left HTTP in tasks of its own."""

    def __init__(self, make: Callable[[], GrpcFront]) -> None:
        self._make = make
        self._front: GrpcFront | None = None
        self._tasks: set[asyncio.Task[None]] = set()

    def serve(self, sock: socket.socket, head: bytes) -> None:
        """A connection on which the client calls."""
        self._run(self._made().serve(sock, head))

    def session(self, sock: socket.socket, headers: Iterable[tuple[str, str]]) -> None:
        """A connection on which the client is called."""
        self._run(self._made().session(sock, list(headers)))

    def _made(self) -> GrpcFront:
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
