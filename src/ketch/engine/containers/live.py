"""What the engine holds of a container while its process runs, or while clients wait for it to."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import contextmanager
from typing import TYPE_CHECKING

from ketch.engine.containers.attach_options import AttachOptions

if TYPE_CHECKING:
    from ketch.runtime.remote import Shim


class Live:
    """One container's volatile side; nothing here has to survive the daemon.

    ``waiting`` holds the clients that attached before the start. ``exited`` is set anew for each
    run and done when the exit is on record. ``stopping`` says that a user asked for the end, so
    that no restart policy brings it back.
    """

    __slots__ = (
        "backoff",
        "exited",
        "freezes",
        "releasing",
        "restart",
        "reviving",
        "shim",
        "stopping",
        "stops",
        "waiting",
        "watched_since",
    )

    def __init__(self) -> None:
        self.shim: Shim | None = None
        self.waiting: list[AttachOptions] = []
        self.exited: asyncio.Future[None] | None = None
        self.stopping = False
        self.restart: asyncio.Task[None] | None = None
        self.releasing: asyncio.Task[None] | None = None
        self.reviving: asyncio.Future[None] | None = None
        self.backoff = 0.0
        self.watched_since = 0  # ns; when this run was asked for with denied calls logged, or 0
        self.stops = 0  # requests to end it that are under way
        self.freezes = 0  # how often it was paused

    @contextmanager
    def revived(self) -> Iterator[None]:
        """A user's restart: the end of the old run is not the container's."""
        reviving = self.reviving = asyncio.get_running_loop().create_future()
        try:
            yield
        finally:
            reviving.set_result(None)
            if self.reviving is reviving:
                self.reviving = None

    async def released(self) -> None:
        """Wait until what the last run held is given back."""
        if self.releasing is not None:
            await asyncio.wait((self.releasing,))
            self.releasing = None

    def started(self, shim: Shim) -> None:
        """A run begins."""
        self.shim = shim
        self.stopping = False
        self.exited = asyncio.get_running_loop().create_future()

    def ended(self) -> None:
        """The run is over and on record."""
        self.shim = None
        if self.exited is not None and not self.exited.done():
            self.exited.set_result(None)

    def take_waiting(self) -> list[AttachOptions]:
        """The clients that attached before the start; they are the caller's from now on."""
        waiting, self.waiting = self.waiting, []
        return waiting

    def drop_waiting(self) -> None:
        """There will be no start: let the clients go."""
        for client in self.take_waiting():
            client.sock.close()

    def cancel_restart(self) -> None:
        """Take back a restart that a policy has scheduled."""
        if self.restart is not None and self.restart is not asyncio.current_task():
            self.restart.cancel()
        self.restart = None


class LiveContainers:
    """By container ID, made on demand."""

    def __init__(self) -> None:
        self._live: dict[str, Live] = {}

    def __getitem__(self, container_id: str) -> Live:
        live = self._live.get(container_id)
        if live is None:
            live = self._live[container_id] = Live()
        return live

    def forget(self, container_id: str) -> None:
        """The container is gone."""
        live = self._live.pop(container_id, None)
        if live is not None:
            live.cancel_restart()
            live.drop_waiting()
