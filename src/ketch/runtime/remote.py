"""The engine's view of launcher and shims, for asyncio. Nothing here blocks the event loop.

    launcher = await Launcher.ensure("/run/ketch")
    shim = await launcher.start(start, [(client, attach)])
    started = await shim.started()          # raises StartFailed
    exit = await shim.exited()
    shim.reap()                             # after the exit is on record

Client sockets stay the caller's and should be closed once ``started()`` has returned: the shim has
its own copies and lives without us.

Any of those who should do something may be killed before they do it. What surely nobody has begun
is asked of others, once more; nobody is told of that.
"""

from __future__ import annotations

import asyncio
import os
import socket
from collections.abc import Callable, Iterable, Sequence
from contextlib import suppress
from pathlib import Path

from ketch.errors import KetchError, Unavailable
from ketch.mounts import Rootfs
from ketch.runtime import protocol, spawning, wire
from ketch.runtime.messages import Attach, Exec, Exit, Start, Started, Warm
from ketch.runtime.remote_shim import PAUSES, Shim, taken_down
from ketch.runtime.remote_work import Work
from ketch.runtime.rootfs import make_mountable_again
from ketch.runtime.wire import Body, Connection

__all__ = ["Clients", "Exit", "Launcher", "Shim", "Started", "connect_shim"]

connect_shim = Shim.adopt

Clients = Sequence[tuple[socket.socket, Attach]]
"""Attached clients: their connection, and what they want."""

_RETRY_DELAY, _RETRIES = 0.02, 250


class Launcher:
    """The launcher of one exec root. When it dies, the next call starts a new one.

    ``on_lost`` is called when the connection ends: all warm members are gone then.
    """

    def __init__(self, exec_root: str, entry: Path = spawning.ENTRY) -> None:
        self.exec_root = exec_root
        self.on_lost: Callable[[], None] | None = None
        self._entry = entry
        self._connection: Connection | None = None
        self._connecting = asyncio.Lock()
        self._closed = False

    @classmethod
    async def ensure(cls, exec_root: str | Path, entry: Path = spawning.ENTRY) -> Launcher:
        """The launcher that answers below ``exec_root``, started if there is none.

        Raises ``Unavailable`` when it cannot be started.
        """
        launcher = cls(str(exec_root), entry)
        await launcher._live()
        return launcher

    @classmethod
    async def connect(cls, exec_root: str | Path) -> Launcher:
        """The launcher that answers; raises ``Unavailable`` when there is none."""
        launcher = cls(str(exec_root))
        if not await launcher._try_connect():
            raise Unavailable(f"no launcher answers below {exec_root}")
        return launcher

    async def hello(self) -> Body:
        """``{"release", "pid", "warm": IDs of the members that are ready}``."""
        return await self._request({"op": "hello"})

    async def warm(self, warm: Warm) -> None:
        """Make a warm member; returns when it is ready. Raises what went wrong."""
        await self._request({"op": "warm", "warm": warm})

    async def drop_warm(self, ids: Iterable[str] | None = None) -> None:
        """Let warm members go, all by default; unknown ones are no error."""
        body: Body = {"op": "drop-warm"}
        if ids is not None:
            body["ids"] = list(ids)
        with suppress(wire.Lost):  # they went with it
            await self._request(body)

    async def start(self, start: Start, clients: Clients = ()) -> Shim:
        """Start a container; ``started()`` of the result tells how that went.

        Raises ``StartFailed`` when its root cannot be mounted.
        """
        await taken_down(start["id"])
        body = {"op": "start", "start": {**start, "attach": [attach for _, attach in clients]}}
        return await self._launch(body, clients, start, root=start["rootfs"])

    async def exec(self, job: Exec, clients: Clients = (), pidfd: int | None = None) -> Shim:
        """Run a process in a container; ``pidfd`` of its init is safer than ``init_pid``.

        It has to be open until ``started()`` has returned.
        """
        index = None if pidfd is None else len(clients) + 1
        inner = {**job, "attach": [attach for _, attach in clients], "pidfd": index}
        more = () if pidfd is None else (pidfd,)
        return await self._launch({"op": "exec", "exec": inner}, clients, job, more)

    async def work(
        self,
        task: str,
        args: Body,
        fds: Sequence[int] = (),
        rootfs: Rootfs | None = None,
        *,
        trees: Sequence[Rootfs] = (),
        linger: float = 0,
    ) -> Body:
        """Run ``module:function`` in a worker and await its result; cancelling kills it.

        With ``rootfs`` the worker's ``/`` is that tree; directories of ``trees`` (O_PATH) come
        before ``fds``. ``linger`` is for how many seconds more work is to be expected, so that it
        starts sooner. Raises what the task raised.
        """
        body: Body = {"task": task, "args": args, "linger": linger}
        body["rootfs"] = rootfs.to_wire() if rootfs is not None else None
        body["trees"] = [tree.to_wire() for tree in trees]
        request = {"op": "work", "work": body}
        for pause in (*PAUSES, None):
            ours, theirs = wire.pair()
            work = Work(ours, task)
            try:
                await self._hand_over(request, theirs, fds)
                return await work.result()
            except Unavailable:
                if work.begun or pause is None:
                    raise
            finally:
                work.close()
            await asyncio.sleep(pause)
            for root in (*trees, *([rootfs] if rootfs else [])):
                make_mountable_again(root)
        raise AssertionError("the last try returns or raises")

    async def lend(self, rootfs: Rootfs) -> int:
        """A tree for somebody to look at: an fd of its mount, which goes with the last copy of it.

        The fd is the caller's. Raises ``Unavailable`` when the launcher dies.
        """
        ours, theirs = wire.pair()
        with ours:
            await self._hand_over({"op": "lend", "rootfs": rootfs.to_wire()}, theirs, [])
            try:
                message = protocol.receive(ours, socket.MSG_DONTWAIT)  # it came before the answer
            except BlockingIOError:
                message = None
        if message is None:
            raise Unavailable("the launcher died before it lent a tree")
        return message.fds[0]

    async def release_layers(self, sources: Iterable[str]) -> None:
        """Unmount cached layers, so that their files can go; unknown ones are no error."""
        with suppress(wire.Lost):  # its mounts went with it
            await self._request({"op": "release-layers", "sources": list(sources)})

    async def shutdown(self) -> None:
        """End the launcher and its warm members; containers live on."""
        await self._request({"op": "shutdown"})
        self.close()

    def close(self) -> None:
        """Let go of the launcher, which goes on."""
        self._closed = True
        if self._connection is not None:
            self._connection.close()

    async def _launch(
        self,
        body: Body,
        clients: Clients,
        job: Start | Exec,
        more: Sequence[int] = (),
        root: dict[str, object] | None = None,
    ) -> Shim:
        async def ask(theirs: socket.socket) -> None:
            fds = [*(sock.fileno() for sock, _ in clients), *more]
            await self._hand_over(body, theirs, fds)

        async def ask_again(theirs: socket.socket) -> None:
            if root is not None:
                make_mountable_again(Rootfs.from_wire(root))
            await ask(theirs)

        ours, theirs = wire.pair()
        shim = Shim(ours, job["id"], job["socket"], ask_again)
        try:
            await ask(theirs)
        except BaseException:
            shim.close()
            raise
        return shim

    async def _hand_over(self, body: Body, theirs: socket.socket, fds: Sequence[int]) -> None:
        """A request with the other end of a control socket. When the launcher dies, somebody may
        have it all the same: the socket tells."""
        with theirs, suppress(wire.Lost):
            await self._request(body, [theirs.fileno(), *fds])

    async def _request(self, body: Body, fds: Sequence[int] = ()) -> Body:
        try:
            return await (await self._live()).request(body, fds)
        except wire.Unsent:  # it died a moment ago, which nobody has noticed yet
            return await (await self._live()).request(body, fds)

    async def _live(self) -> Connection:
        """The connection, made anew if need be."""
        if self._closed:
            raise Unavailable("the connection to the launcher is closed")
        async with self._connecting:
            if self._connection is not None and not self._connection.lost:
                return self._connection
            if not await self._try_connect():
                await self._start_and_connect()
            assert self._connection is not None
            return self._connection

    async def _start_and_connect(self) -> None:
        os.makedirs(self.exec_root, mode=0o711, exist_ok=True)
        await spawning.spawn(self.exec_root, self._entry)
        for _ in range(_RETRIES):  # another daemon may be starting it at this moment
            if await self._try_connect():
                return
            await asyncio.sleep(_RETRY_DELAY)
        raise Unavailable(f"no launcher answers below {self.exec_root}, though one seems to run")

    async def _try_connect(self) -> bool:
        try:
            sock = wire.connect(f"{self.exec_root}/launcher.sock")
        except OSError:
            return False
        connection = Connection(sock, "the launcher", _ignore, _nothing)
        try:
            hello = await connection.request({"op": "hello"})
            if hello.get("release") == protocol.RELEASE:
                connection.on_lost = self._lost
                self._connection = connection
                return True
            await connection.request({"op": "shutdown"})  # one of another release
        except KetchError:
            pass
        connection.close()
        return False

    def _lost(self) -> None:
        if self.on_lost is not None and not self._closed:
            self.on_lost()


def _ignore(_body: Body) -> None:
    """The launcher sends answers only."""


def _nothing() -> None:
    """Losing a connection that was never taken into use means nothing."""
