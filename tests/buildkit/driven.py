"""A build that a test drives by itself through the gateway, with containers of its own."""

from __future__ import annotations

import asyncio
import json
import uuid
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager
from typing import Any, NamedTuple

from grpclib.exceptions import GRPCError

from buildkit.buildx import BOTH, Buildx
from ketch.buildkit.messages import container as containers
from ketch.buildkit.messages import control, gateway
from ketch.llb import exec_messages as pb

BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"


class Ran(NamedTuple):
    """How a program ended."""

    code: int
    error: str
    out: bytes
    err: bytes


class Driven:
    """One of them."""

    def __init__(self, client: Buildx, ref: str) -> None:
        self.client = client
        self.ref = ref
        self.stack = AsyncExitStack()  # closed with the build

    async def call(self, method: str, request: Any, reply: type[Any]) -> Any:
        return await self.client.call(BRIDGE + method, request, reply, self.ref)

    async def solve(self, *, evaluate: bool = True, **attrs: str) -> gateway.Result:
        """Of the Dockerfile in the client's directories."""
        request = gateway.GatewaySolveRequest(
            Frontend="dockerfile.v0", FrontendOpt=attrs, allowResultReturn=True,
            allowResultArrayRef=True, Evaluate=evaluate,
        )  # fmt: skip
        solved = await self.call("Solve", request, gateway.GatewaySolveResponse)
        assert solved.result is not None
        return solved.result

    async def graph(self, definition: Any) -> str:
        """The reference of what a build graph comes to."""
        request = gateway.GatewaySolveRequest(
            definition=definition, allowResultReturn=True, allowResultArrayRef=True, Evaluate=True
        )
        solved = await self.call("Solve", request, gateway.GatewaySolveResponse)
        return str(solved.result.ref.id)

    async def failure(self, ref: str) -> dict[str, Any]:
        """The details of the failure of a result, by the end of their type."""
        try:
            await self.call("Evaluate", gateway.EvaluateRequest(Ref=ref), gateway.EvaluateResponse)
        except GRPCError as error:
            found = {url.rpartition(".")[2]: json.loads(text) for url, text in error.details or ()}
            return {**found, "message": error.message}
        raise AssertionError("it did not fail")

    async def read(self, ref: str, path: str, part: gateway.FileRange | None = None) -> bytes:
        """Of a file of a result."""
        request = gateway.ReadFileRequest(Ref=ref, FilePath=path, Range=part)
        return bytes((await self.call("ReadFile", request, gateway.ReadFileResponse)).Data)

    async def list(self, ref: str, path: str, pattern: str = "") -> Any:
        """A directory of a result."""
        request = gateway.ReadDirRequest(Ref=ref, DirPath=path, IncludePattern=pattern)
        return (await self.call("ReadDir", request, gateway.ReadDirResponse)).entries

    async def new(self, name: str, *mounts: pb.MountMessage, **more: Any) -> None:
        request = containers.NewContainerRequest(ContainerID=name, Mounts=list(mounts), **more)
        await self.call("NewContainer", request, containers.NewContainerResponse)

    async def release(self, name: str) -> None:
        request = containers.ReleaseContainerRequest(ContainerID=name)
        await self.call("ReleaseContainer", request, containers.ReleaseContainerResponse)

    @asynccontextmanager
    async def executing(self) -> AsyncIterator[Executing]:
        """A stream of programs."""
        message = containers.ExecMessage
        metadata = [("buildkit-controlapi-buildid", self.ref)]
        stream = self.client.channel.request(
            BRIDGE + "ExecProcess", BOTH, message, message, metadata=metadata
        )
        async with stream as call:
            yield Executing(call)
            await call.end()
            while await call.recv_message() is not None:
                pass

    async def run(self, container: str, *words: str, input: bytes = b"", **more: Any) -> Ran:
        """One program, to its end."""
        async with self.executing() as programs:
            await programs.start("p", container, *words, **more)
            await programs.write("p", input, end=True)
            return await programs.ended("p")


class Executing:
    """The stream of ``ExecProcess``; what programs wrote is kept."""

    def __init__(self, call: Any) -> None:
        self._call = call
        self._written: dict[tuple[str, int], bytes] = {}
        self._exits: dict[str, containers.ExitMessage] = {}
        self._done: set[str] = set()

    async def _say(self, program: str, **part: Any) -> None:
        await self._call.send_message(containers.ExecMessage(ProcessID=program, **part))

    async def start(
        self, program: str, container: str, *words: str, tty: bool = False, **more: Any
    ) -> None:
        env = more.pop("env", ["PATH=/bin"])
        secrets = more.pop("secretenv", [])
        security = more.pop("security", 0)
        fds = more.pop("fds", [0, 1] if tty else [0, 1, 2])
        meta = pb.Meta(args=list(words), env=env, **{"cwd": "/", **more})
        init = containers.InitMessage(
            ContainerID=container, meta=meta, Fds=fds, Tty=tty, secretenv=secrets,
            Security=security,
        )  # fmt: skip
        await self._say(program, Init=init)

    async def write(self, program: str, data: bytes, *, end: bool = False) -> None:
        await self._say(program, File=containers.FdMessage(Fd=0, Data=data, EOF=end))

    async def resize(self, program: str, rows: int, columns: int) -> None:
        await self._say(program, Resize=containers.ResizeMessage(Rows=rows, Cols=columns))

    async def signal(self, program: str, name: str) -> None:
        await self._say(program, Signal=containers.SignalMessage(Name=name))

    async def _take(self) -> None:
        message = await self._call.recv_message()
        assert message is not None, "the stream is over"
        program = message.ProcessID
        if message.File is not None:
            place = (program, message.File.Fd)
            self._written[place] = self._written.get(place, b"") + message.File.Data
        if message.Exit is not None:
            self._exits[program] = message.Exit
        if message.Done is not None:
            self._done.add(program)

    async def said(self, program: str, text: bytes) -> None:
        """Wait until it has written that."""
        while text not in self._written.get((program, 1), b""):
            await self._take()

    async def ended(self, program: str) -> Ran:
        while program not in self._done:
            await self._take()
        end = self._exits[program]
        error = end.Error.message if end.Error is not None else ""
        out, err = (self._written.get((program, fd), b"") for fd in (1, 2))
        return Ran(end.Code, error, out, err)


@asynccontextmanager
async def driven(client: Buildx, *, allow: tuple[str, ...] = ()) -> AsyncIterator[Driven]:
    """A connection, a session and an open build."""
    async with client.connected(), client.session() as session:
        build = Driven(client, uuid.uuid4().hex)
        request = control.SolveRequest(
            Ref=build.ref, Session=session, FrontendAttrs={}, Entitlements=list(allow)
        )
        method = "/moby.buildkit.v1.Control/Solve"
        solving = asyncio.create_task(client.call(method, request, control.SolveResponse))
        try:
            async with build.stack:
                yield build
            await build.call("Return", gateway.ReturnRequest(), gateway.ReturnResponse)
            await solving
        finally:
            solving.cancel()
            await asyncio.gather(solving, return_exceptions=True)
