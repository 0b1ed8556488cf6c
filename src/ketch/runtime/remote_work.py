"""One task in a worker, awaited by the engine."""

from __future__ import annotations

import asyncio
import socket

from ketch.errors import Unavailable
from ketch.runtime import failures
from ketch.runtime.wire import Body, Connection


class Work:
    """The control connection of a worker; closing it kills the worker."""

    def __init__(self, sock: socket.socket, task: str) -> None:
        self._task = task
        self.begun = False  # whether the worker has said that it begins
        self._result: asyncio.Future[Body] = asyncio.get_running_loop().create_future()
        self._connection = Connection(sock, f"the worker of {task}", self._event, self._lost)

    async def result(self) -> Body:
        """What the task returned; raises what it raised, ``Unavailable`` when the worker died."""
        return await self._result

    def close(self) -> None:
        """End the worker if it still runs."""
        self._connection.close()

    def _event(self, body: Body) -> None:
        if self._result.done():
            return
        if body.get("event") == "began":
            self.begun = True
        elif body.get("event") == "result":
            self._result.set_result(body["result"])
        elif body.get("event") == "failed":
            self._result.set_exception(failures.from_wire(body))

    def _lost(self) -> None:
        if not self._result.done():
            self._result.set_exception(Unavailable(f"the worker of {self._task} died"))
            self._result.exception()
