"""A worker that serves one build: unpacks the context, hashes, stores layers."""

from __future__ import annotations

import asyncio
import json
import os
import socket
from contextlib import suppress
from typing import TYPE_CHECKING, Any

from ketch.errors import Unavailable
from ketch.runtime import failures

if TYPE_CHECKING:
    from ketch.runtime.remote import Launcher

_TASK = "ketch.build.tasks.serving:serve"
PATIENCE = 300.0  # seconds: who builds once soon builds again
_PATIENCE_AT_END = 10.0  # seconds
_LONGEST = 16 << 20  # bytes of one answer: a Dockerfile in base64


class BuildWorker:
    """See ``ketch.build.tasks.serving.serve``. Requests are done one after another."""

    def __init__(self, launcher: Launcher) -> None:
        self._launcher = launcher
        self._turn = asyncio.Lock()
        self._running: asyncio.Task[None] | None = None
        self._held: list[int] = []
        self._socket: socket.socket
        self._lending: socket.socket
        self._streams: tuple[asyncio.StreamReader, asyncio.StreamWriter] | None = None

    def start(self, *, ahead: bool = False) -> None:
        """Fork it; it waits for a build. ``ahead``: there is none yet."""
        self._socket, control = socket.socketpair()
        self._lending, lending = socket.socketpair()
        self._running = asyncio.create_task(self._run(control, lending, ahead))
        self._running.add_done_callback(_noted)

    @property
    def alive(self) -> bool:
        """Whether it runs."""
        return self._running is not None and not self._running.done()

    async def begin(self, directory: str, stream: int) -> None:
        """Give it a build's directory and a context's tar stream, whose fd stays the caller's;
        -1: none."""
        build_fd = os.open(directory, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
        taken = os.dup(stream) if stream >= 0 else os.open(os.devnull, os.O_RDONLY | os.O_CLOEXEC)
        self._held = [taken, build_fd]
        try:
            socket.send_fds(self._socket, [b"\0"], self._held)
        except OSError:
            pass  # it died: the first request says so
        self._streams = await asyncio.open_connection(sock=self._socket, limit=_LONGEST)

    async def _run(self, control: socket.socket, lending: socket.socket, ahead: bool) -> None:
        try:
            with control, lending:
                fds = [control.fileno(), lending.fileno()]
                await self._launcher.work(_TASK, {"ahead": ahead}, fds, linger=PATIENCE)
        finally:
            self._let_go()

    def _let_go(self) -> None:
        """Close our copies: as long as one is open, who writes the stream sees no end of it."""
        held, self._held = self._held, []
        for fd in held:
            os.close(fd)

    async def ask(self, what: str, lent: int = -1, **request: Any) -> dict[str, Any]:
        """One request; raises what it raised, ``Unavailable`` when the worker died. ``lent`` is the
        fd of a tree for it, of which a copy is kept until then.

        A request that was sent is waited for even when this is cancelled: nothing half-made stays.
        """
        asked = {"do": what, **request}
        lent = os.dup(lent) if lent >= 0 else -1
        asking = asyncio.ensure_future(self._ask(asked, lent))
        asking.add_done_callback(_seen)
        return await asyncio.shield(asking)

    async def _ask(self, request: dict[str, Any], lent: int) -> dict[str, Any]:
        async with self._turn:
            assert self._streams is not None
            reader, writer = self._streams
            if lent >= 0:
                self._lend(lent)
            if not writer.is_closing():  # else it died: there is no answer
                writer.write(json.dumps(request).encode() + b"\n")
            line = await self._answer(reader)
        self._let_go()  # whoever answers has what it was given
        answer = json.loads(line)
        if "failed" in answer:
            raise failures.from_wire(answer["failed"])
        found: dict[str, Any] = answer["done"]
        return found

    def _lend(self, fd: int) -> None:
        with suppress(OSError):  # it died: there is no answer
            socket.send_fds(self._lending, [b"\0"], [fd])
        os.close(fd)

    async def _answer(self, reader: asyncio.StreamReader) -> bytes:
        """The next line, or why there is none: our end stays open when the worker dies."""
        assert self._running is not None
        reading = asyncio.ensure_future(reader.readline())
        await asyncio.wait({reading, self._running}, return_when=asyncio.FIRST_COMPLETED)
        line = b""
        if reading.done():
            with suppress(ConnectionError):  # it died with a request unread
                line = reading.result()
        if not line:
            reading.cancel()
            if self._running.done() and not self._running.cancelled():
                self._running.result()
            raise Unavailable("the worker of the build died")
        return line

    async def close(self, patience: float = _PATIENCE_AT_END) -> None:
        """Let it finish what it does, but for no longer than ``patience`` seconds; then end it.

        A request that is cut off raises ``Unavailable``, and may leave its ``scratch`` behind.
        """
        if self._running is None:
            return
        try:
            async with asyncio.timeout(patience):
                async with self._turn:
                    self._hang_up()
                await asyncio.wait({self._running})
        except TimeoutError:
            self._running.cancel()  # which kills it
            self._hang_up()
        await asyncio.gather(self._running, return_exceptions=True)

    def _hang_up(self) -> None:
        self._lending.close()
        if self._streams is not None:
            self._streams[1].close()
        else:
            self._socket.close()


def _noted(run: asyncio.Task[None]) -> None:
    """How a worker ended is told to the next request, if there is one: it is no fault if not."""
    if not run.cancelled():
        run.exception()


def _seen(asking: asyncio.Future[dict[str, Any]]) -> None:
    """A failure that nobody waits for any more is no news."""
    if not asking.cancelled():
        asking.exception()
