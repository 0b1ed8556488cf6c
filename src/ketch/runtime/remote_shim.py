"""A supervised process as the engine sees it: ``Shim``."""

from __future__ import annotations

import asyncio
import socket
from collections.abc import Awaitable, Callable, Sequence
from os.path import basename, lexists

import msgspec

from ketch.errors import NotFound, StartFailed, Unavailable, errno_text
from ketch.runtime import wire
from ketch.runtime.messages import Attach, Exit, Forward, Started
from ketch.runtime.wire import Body, Connection

PAUSES = (0.0, 0.02, 0.2)
"""Seconds before those who died are asked again: the launcher may not know of it at once."""
_AT_ONCE = 200  # sockets in one message; protocol.MAX_FDS is the limit


class Shim:
    """The supervisor of one container or exec process.

    ``on_detached`` is called when a client has typed the detach keys, ``on_lost`` when the
    connection ends, after ``exited`` or without (somebody killed the shim, and the process died
    with it). Closing it, or losing the daemon, harms neither process nor clients.

    ``again`` gives a socket to another supervisor, and is called if this one died before it
    began: who has begun is found at ``place``, also after its death.
    """

    def __init__(
        self,
        sock: socket.socket,
        name: str,
        place: str = "",
        again: Callable[[socket.socket], Awaitable[None]] | None = None,
    ) -> None:
        self.name = name
        self.on_detached: Callable[[], None] | None = None
        self.on_lost: Callable[[], None] | None = None
        self._gone = asyncio.Event()
        self._reaping: asyncio.Task[None] | None = None
        self._place, self._again = place, again
        self.repeated = False  # whether this is not the one that was asked first
        self._connect(sock)

    def _connect(self, sock: socket.socket) -> None:
        loop, name = asyncio.get_running_loop(), f"the supervisor of {self.name}"
        self._started: asyncio.Future[Started] = loop.create_future()
        self._exited: asyncio.Future[Exit] = loop.create_future()
        self._connection = Connection(sock, name, self._event, self._lost)

    @classmethod
    async def adopt(cls, socket_path: str, name: str = "") -> Shim:
        """The shim that answers at ``socket_path``, e.g. after the daemon was started anew.

        It tells ``started`` and, if so, ``exited`` again. Raises ``NotFound`` when none answers:
        the container's end is then in its ``exit.json``, or unknown.
        """
        try:
            sock = wire.connect(socket_path)
        except OSError as error:
            raise NotFound(
                f"no supervisor answers at {socket_path}: {errno_text(error)}"
            ) from error
        return cls(sock, name or basename(socket_path).removesuffix(".sock"))

    @property
    def lost(self) -> bool:
        """Whether the connection has ended."""
        return self._connection.lost

    async def started(self) -> Started:
        """Await the start; raises ``StartFailed``, or ``Unavailable`` when the shim died."""
        for pause in PAUSES:
            try:
                return await asyncio.shield(self._started)
            except Unavailable:
                if self._again is None or lexists(self._place):
                    raise
            await asyncio.sleep(pause)
            self.repeated = True
            ours, theirs = wire.pair()
            self._connect(ours)
            self._gone.clear()
            with theirs:
                await self._again(theirs)
        return await asyncio.shield(self._started)

    async def exited(self) -> Exit:
        """Await the end; raises ``Unavailable`` when the shim died, ``StartFailed`` if there was
        no start."""
        return await asyncio.shield(self._exited)

    async def gone(self) -> None:
        """Await the end of the connection."""
        await self._gone.wait()

    async def attach(self, sock: socket.socket, attach: Attach) -> None:
        """Attach a client; ``sock`` is duplicated and remains the caller's, to be closed.

        Raises ``NotFound`` when the process has ended.
        """
        await self._connection.request({"op": "attach", "attach": attach}, [sock.fileno()])

    async def resize(self, height: int, width: int) -> None:
        """Set the terminal's size; before the start this waits. Raises ``InvalidParameter``
        without a terminal."""
        await self._connection.request({"op": "resize", "height": height, "width": width})

    async def signal(self, number: int) -> None:
        """Signal the process; raises ``NotFound`` when it has ended."""
        await self._connection.request({"op": "signal", "signal": number})

    async def kill_tree(self) -> None:
        """SIGKILL to an exec process and all that it started; raises ``NotFound`` when it has
        ended."""
        await self._connection.request({"op": "signal", "signal": 9, "tree": True})

    async def close_stdin(self) -> None:
        """End the process's input."""
        await self._connection.request({"op": "close-stdin"})

    async def state(self) -> Body:
        """``pid``, ``started_at``, ``cgroup``, ``exit`` (or None), ``clients`` (a count),
        ``forwards`` (targets by name)."""
        return await self._connection.request({"op": "state"})

    async def forward(self, ports: Sequence[tuple[socket.socket, Forward]]) -> None:
        """Let the shim carry ports; the sockets are duplicated and remain the caller's.

        Raises ``NotFound`` when the process has ended.
        """
        for first in range(0, len(ports), _AT_ONCE):
            some = ports[first : first + _AT_ONCE]
            body: Body = {"op": "forward", "forwards": [forward for _, forward in some]}
            await self._connection.request(body, [sock.fileno() for sock, _ in some])

    async def aim(self, forwards: Sequence[Forward]) -> None:
        """Lead ports that the shim carries to other targets."""
        await self._connection.request({"op": "aim", "forwards": forwards})

    async def unforward(self, names: Sequence[str]) -> None:
        """Let ports go, with their connections; unknown ones are no error."""
        await self._connection.request({"op": "unforward", "names": names})

    def reap(self) -> asyncio.Task[None]:
        """The exit is on record: let the shim leave. No error when it has left already.

        May be awaited: it is done when the sandbox is taken down, cgroups and all.
        """
        if self._reaping is None:
            self._reaping = asyncio.create_task(self._reap())
            _ending[self.name] = self._reaping
        return self._reaping

    async def _reap(self) -> None:
        try:
            await self._connection.request({"op": "reap"})
        except Unavailable:
            pass
        finally:
            _ending.pop(self.name, None)

    def close(self) -> None:
        """Let go of the shim, which goes on; after ``reap`` the answer is awaited first."""
        if self._reaping is None or self._reaping.done():
            self._connection.close()
        else:
            self._reaping.add_done_callback(lambda _: self._connection.close())

    def _event(self, body: Body) -> None:
        kind = body.get("event")
        if kind == "started" and not self._started.done():
            self._started.set_result(msgspec.convert(body, Started))
        elif kind == "exited" and not self._exited.done():
            self._exited.set_result(msgspec.convert(body, Exit))
        elif kind == "failed":
            self._fail(StartFailed(str(body.get("error")), int(body.get("code", 128))))
        elif kind == "detached" and self.on_detached is not None:
            self.on_detached()

    def _lost(self) -> None:
        self._fail(Unavailable(f"the supervisor of {self.name} died"))
        self._gone.set()
        if self.on_lost is not None:
            self.on_lost()

    def _fail(self, error: Exception) -> None:
        for future in (self._started, self._exited):
            if not future.done():
                future.set_exception(error)
                future.exception()  # it is no fault if nobody asks


_ending: dict[str, asyncio.Task[None]] = {}


async def taken_down(name: str) -> None:
    """Await the end of what an earlier run of ``name`` is taking down, cgroups above all: a new run
    makes them under the same names."""
    ending = _ending.get(name)
    if ending is not None:
        await asyncio.wait([ending])
