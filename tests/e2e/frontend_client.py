"""A front end in an image that a test plays: its program only carries bytes to the test.

``nc`` in a busybox gives its standard input and output to a socket of the test's, which is then the
client of the bridge; what environment the program had comes by another connection before.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import Any

from buildkit.buildx import UNARY
from buildkit.driven import BRIDGE
from e2e.ketchd_process import Ketchd
from ketch.buildkit.messages import gateway
from ketch.buildkit.wire import SocketChannel
from ketch.llb.messages import Definition

_SCRIPT = "env >/tmp/e; cat /run/config/buildkit/metadata/frontend.bin | wc -c >>/tmp/e;\
 nc {host} {port} </tmp/e; echo told >&2; nc {host} {port}; exit $(cat /tmp/code || echo 0)"


class Bridge:
    """What a front end may call."""

    def __init__(self, sock: socket.socket, env: dict[str, str]) -> None:
        self.env = env
        self.options = dict(
            text.partition("=")[::2]
            for name, text in env.items()
            if name.startswith("BUILDKIT_FRONTEND_OPT_")
        )
        self._channel = SocketChannel(sock)

    async def call(self, method: str, request: Any, reply: type[Any]) -> Any:
        stream = self._channel.request(BRIDGE + method, UNARY, type(request), reply)
        async with stream as call:
            await call.send_message(request, end=True)
            return await call.recv_message()

    async def solve(self, definition: Definition | None = None, **more: Any) -> str:
        """The reference of what a graph, or a front end, comes to."""
        request = gateway.GatewaySolveRequest(
            definition=definition, allowResultReturn=True, allowResultArrayRef=True, **more
        )
        solved = await self.call("Solve", request, gateway.GatewaySolveResponse)
        return str(solved.result.ref.id)

    async def read(self, ref: str, path: str) -> bytes:
        request = gateway.ReadFileRequest(Ref=ref, FilePath=path)
        return bytes((await self.call("ReadFile", request, gateway.ReadFileResponse)).Data)

    async def give(self, ref: str, **metadata: bytes) -> None:
        named = {name.replace("__", "."): text for name, text in metadata.items()}
        result = gateway.Result(ref=gateway.Ref(id=ref), metadata=named)
        await self.call("Return", gateway.ReturnRequest(result=result), gateway.ReturnResponse)

    async def fail(self, told: str) -> None:
        status = gateway.Status(code=2, message=told)
        await self.call("Return", gateway.ReturnRequest(error=status), gateway.ReturnResponse)

    def close(self) -> None:
        self._channel.close()


@asynccontextmanager
async def playing(
    ketchd: Ketchd, name: str, play: Callable[[Bridge], Awaitable[None]], *changes: str
) -> AsyncIterator[None]:
    """While the block runs, the image ``name`` is a front end that does as ``play`` does."""
    host = f"10.199.{ketchd.octet}.1"
    with socket.create_server((host, 0)) as server:
        server.setblocking(False)
        script = _SCRIPT.format(host=host, port=server.getsockname()[1])
        words = [f'ENTRYPOINT ["sh","-c",{script!r}]'.replace("'", '"'), "ENV MINE=yes", *changes]
        id = ketchd.out("create", "busybox")
        await asyncio.to_thread(
            ketchd.docker, "commit", *[f"--change={word}" for word in words], id, name
        )
        ketchd.docker("rm", id)
        serving = asyncio.create_task(_serve(server, play))
        try:
            yield
        finally:
            serving.cancel()
            ended = await asyncio.gather(serving, return_exceptions=True)
    for error in ended:
        if isinstance(error, Exception):
            raise error


async def _serve(server: socket.socket, play: Callable[[Bridge], Awaitable[None]]) -> None:
    loop = asyncio.get_running_loop()
    while True:
        told, _ = await loop.sock_accept(server)
        text = b""
        with told:
            while data := await loop.sock_recv(told, 1 << 16):
                text += data
        lines = text.decode().splitlines()
        sock, _ = await loop.sock_accept(server)
        env = dict(line.partition("=")[::2] for line in lines if "=" in line)
        bridge = Bridge(sock, {**env, "metadata": lines[-1]})
        try:
            await play(bridge)
        finally:
            bridge.close()
