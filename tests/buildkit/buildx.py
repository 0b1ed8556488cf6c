"""A client that behaves as ``docker buildx`` does: gRPC by upgrade, and a session that serves
files, secrets, agents and registry accounts."""

from __future__ import annotations

import asyncio
import os
import socket
import stat
import uuid
from collections.abc import AsyncIterator, Iterable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from buildkit import content_store
from ketch.build.contexts.ignore import IgnoreRules
from ketch.buildkit.messages import control, gateway
from ketch.buildkit.messages import session as messages
from ketch.buildkit.session.sessions import HEALTH
from ketch.buildkit.wire import ServedConnection, SocketChannel

UNARY, STREAMING, BOTH = (
    Cardinality.UNARY_UNARY,
    Cardinality.UNARY_STREAM,
    Cardinality.STREAM_STREAM,
)
FILES = "/moby.filesync.v1.FileSync/DiffCopy"
GO_DIR, GO_LINK = 1 << 31, 1 << 27


async def upgraded(path: str, route: str, headers: Iterable[tuple[str, str]] = ()) -> socket.socket:
    """A connection after ``POST route`` with ``Upgrade: h2c``."""
    loop = asyncio.get_running_loop()
    sock = socket.socket(socket.AF_UNIX)
    sock.setblocking(False)
    await loop.sock_connect(sock, path)
    lines = [f"POST {route} HTTP/1.1", "Host: docker", "Connection: Upgrade", "Upgrade: h2c"]
    lines += [f"{name}: {value}" for name, value in headers]
    await loop.sock_sendall(sock, ("\r\n".join(lines) + "\r\n\r\n").encode())
    head = b""
    while b"\r\n\r\n" not in head:
        head += await loop.sock_recv(sock, 1)
    assert b" 101 " in head.split(b"\r\n")[0], head
    assert b"Upgrade: h2c" in head
    return sock


class Raw(bytes):
    """A message of whatever type."""

    def encode(self) -> bytes:  # type: ignore[override]
        return bytes(self)

    @classmethod
    def decode(cls, data: bytes) -> Raw:  # type: ignore[override]
        return cls(data)


class Buildx:
    """A client of one engine; ``directories`` are what its session offers."""

    def __init__(self, path: str) -> None:
        self.path = path
        self.directories: dict[str, Path] = {}
        self.secrets: dict[str, bytes] = {}
        self.accounts: dict[str, tuple[str, str]] = {}
        self.agents: set[str] = set()
        self.agent_socket: Path | None = None
        self.outputs: dict[int, Path] = {}
        self.stores: dict[str, Path] = {}
        self.sent: list[str] = []
        self.asked: list[tuple[str, Any]] = []
        self.channel: SocketChannel

    @asynccontextmanager
    async def connected(self, *, native: bool = False) -> AsyncIterator[Buildx]:
        if native:
            sock = socket.socket(socket.AF_UNIX)
            sock.setblocking(False)
            await asyncio.get_running_loop().sock_connect(sock, self.path)
        else:
            sock = await upgraded(self.path, "/grpc")
        self.channel = SocketChannel(sock)
        try:
            yield self
        finally:
            self.channel.close()

    @asynccontextmanager
    async def session(self) -> AsyncIterator[str]:
        """Open a session; its ID."""
        identity = uuid.uuid4().hex
        methods = self._methods()
        headers = [
            ("X-Docker-Expose-Session-Uuid", identity),
            ("X-Docker-Expose-Session-Name", "test"),
            *(("X-Docker-Expose-Session-Grpc-Method", name) for name in methods),
        ]
        sock = await upgraded(self.path, "/session", headers)
        serving = asyncio.create_task(ServedConnection(methods).serve(sock, b""))
        try:
            yield identity
        finally:
            serving.cancel()
            await asyncio.gather(serving, return_exceptions=True)

    async def call(self, method: str, request: Any, reply: type[Any], build: str = "") -> Any:
        metadata = [("buildkit-controlapi-buildid", build)] if build else []
        stream = self.channel.request(method, UNARY, type(request), reply, metadata=metadata)
        async with stream as call:
            await call.send_message(request, end=True)
            return await call.recv_message()

    async def status(self, ref: str) -> list[control.StatusResponse]:
        request = control.StatusRequest(Ref=ref)
        stream = self.channel.request(
            "/moby.buildkit.v1.Control/Status", STREAMING, type(request), control.StatusResponse
        )
        async with stream as call:
            await call.send_message(request, end=True)
            return [response async for response in call]

    async def listen(self, request: control.BuildHistoryRequest) -> list[Any]:
        method = "/moby.buildkit.v1.Control/ListenBuildHistory"
        stream = self.channel.request(method, STREAMING, type(request), control.BuildHistoryEvent)
        async with stream as call:
            await call.send_message(request, end=True)
            return [event async for event in call]

    async def build(
        self,
        attrs: dict[str, str],
        exporter: dict[str, str] | None = None,
        exporters: Iterable[tuple[str, dict[str, str]]] = (),
        **fields: Any,
    ) -> Outcome:
        """The calls of ``docker buildx build``, in its order and at the same time."""
        ref = uuid.uuid4().hex
        async with self.session() as session:
            wanted = list(exporters) or [("moby", exporter or {})]
            asked = [control.Attributes(Type=kind, Attrs=attributes) for kind, attributes in wanted]
            request = control.SolveRequest(
                Ref=ref, Session=session, Exporters=asked, FrontendAttrs={}, **fields
            )
            solve = self.call("/moby.buildkit.v1.Control/Solve", request, control.SolveResponse)
            results = await asyncio.gather(
                solve, self._drive(ref, attrs), self.status(ref), return_exceptions=True
            )
        solved, driven, status = results
        for error in (solved, driven):
            if isinstance(error, BaseException) and not isinstance(error, GRPCError):
                raise error
        assert not isinstance(status, BaseException), status
        return Outcome(solved, driven, status)

    async def graph(
        self, definition: Any, exporters: Iterable[tuple[str, dict[str, str]]] = (), **fields: Any
    ) -> Outcome:
        """A build of a graph of the client's own, or (``Frontend``) of a front end that the
        daemon calls, as ``buildctl build`` asks for it."""
        ref = uuid.uuid4().hex
        async with self.session() as session:
            asked = [control.Attributes(Type=kind, Attrs=attrs) for kind, attrs in exporters]
            request = control.SolveRequest(
                Ref=ref, Session=session, Exporters=asked, definition=definition, **fields
            )
            solve = self.call("/moby.buildkit.v1.Control/Solve", request, control.SolveResponse)
            solved, status = await asyncio.gather(solve, self.status(ref), return_exceptions=True)
        if isinstance(solved, BaseException) and not isinstance(solved, GRPCError):
            raise solved
        assert not isinstance(status, BaseException), status
        return Outcome(solved, None, status)

    async def _drive(self, ref: str, attrs: dict[str, str]) -> Any:
        """The gateway's side: ping, solve, return."""
        bridge = "/moby.buildkit.v1.frontend.LLBBridge/"
        await self.call(bridge + "Ping", gateway.PingRequest(), gateway.PongResponse, ref)
        request = gateway.GatewaySolveRequest(
            Frontend="dockerfile.v0", FrontendOpt=attrs, allowResultReturn=True,
            allowResultArrayRef=True, Evaluate=True,
        )  # fmt: skip
        try:
            solved = await self.call(bridge + "Solve", request, gateway.GatewaySolveResponse, ref)
        except GRPCError as error:
            status = gateway.Status(code=error.status.value, message=error.message or "")
            returned = gateway.ReturnRequest(error=status)
            await self.call(bridge + "Return", returned, gateway.ReturnResponse, ref)
            raise
        returned = gateway.ReturnRequest(result=solved.result)
        await self.call(bridge + "Return", returned, gateway.ReturnResponse, ref)
        return solved.result

    # What the session serves

    def _methods(self) -> dict[str, Handler]:
        m = messages
        return {
            HEALTH: Handler(self._healthy, UNARY, m.HealthCheckRequest, m.HealthCheckResponse),
            FILES: Handler(self._files, BOTH, m.Packet, m.Packet),
            "/moby.buildkit.secrets.v1.Secrets/GetSecret": Handler(
                self._secret, UNARY, m.GetSecretRequest, m.GetSecretResponse
            ),
            "/moby.filesync.v1.Auth/Credentials": Handler(
                self._credentials, UNARY, m.CredentialsRequest, m.CredentialsResponse
            ),
            "/moby.sshforward.v1.SSH/CheckAgent": Handler(
                self._check_agent, UNARY, m.CheckAgentRequest, m.CheckAgentResponse
            ),
            "/moby.filesync.v1.FileSend/DiffCopy": Handler(self._take, BOTH, Raw, Raw),
            "/moby.sshforward.v1.SSH/ForwardAgent": Handler(
                self._agent, BOTH, m.BytesMessage, m.BytesMessage
            ),
            **(content_store.methods(self.stores) if self.stores else {}),
        }

    async def _healthy(self, stream: Any) -> None:
        await stream.recv_message()
        await stream.send_message(messages.HealthCheckResponse(status=1))

    async def _secret(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.asked.append(("secret", request.ID))
        if request.ID not in self.secrets:
            raise GRPCError(Status.NOT_FOUND, f"secret {request.ID}: not found")
        await stream.send_message(messages.GetSecretResponse(data=self.secrets[request.ID]))

    async def _credentials(self, stream: Any) -> None:
        request = await stream.recv_message()
        self.asked.append(("credentials", request.Host))
        user, password = self.accounts.get(request.Host, ("", ""))
        await stream.send_message(messages.CredentialsResponse(Username=user, Secret=password))

    async def _check_agent(self, stream: Any) -> None:
        request = await stream.recv_message()
        if request.ID not in self.agents:
            raise GRPCError(Status.UNKNOWN, f"unset ssh forward key {request.ID}")
        await stream.send_message(messages.CheckAgentResponse())

    async def _agent(self, stream: Any) -> None:
        """Carries to a real agent; without one it answers every message backwards."""
        if self.agent_socket is not None:
            await self._forward(stream, str(self.agent_socket))
            return
        async for message in stream:
            await stream.send_message(messages.BytesMessage(data=message.data.strip()[::-1]))

    async def _forward(self, stream: Any, path: str) -> None:
        reader, writer = await asyncio.open_unix_connection(path)

        async def back() -> None:
            while data := await reader.read(1 << 16):
                await stream.send_message(messages.BytesMessage(data=data))

        answering = asyncio.create_task(back())
        try:
            async for message in stream:
                writer.write(message.data)
                await writer.drain()
        finally:
            writer.close()
            answering.cancel()
            await asyncio.gather(answering, return_exceptions=True)

    async def _take(self, stream: Any) -> None:
        """An output: a file as it is, or a directory by fsutil's transfer."""
        place = self.outputs[int(stream.metadata["buildkit-attachable-exporter-id"])]
        if place.is_dir():
            await self._receive(stream, place)
            return
        with place.open("wb") as file:
            async for message in stream:
                file.write(messages.BytesMessage.decode(message).data)

    async def _receive(self, stream: Any, place: Path) -> None:
        """All paths first, then the files in the reverse order, as nothing forbids."""
        paths: list[messages.Stat] = []
        while (packet := await self._packet(stream)).stat is not None:
            paths.append(packet.stat)
        order = [path.path.split("/") for path in paths]
        assert order == sorted(order)
        links = []
        for entry in paths:
            target = place / entry.path
            if entry.mode & GO_DIR:
                target.mkdir()
            elif entry.mode & GO_LINK:
                target.symlink_to(entry.linkname)
            elif entry.linkname:
                links.append((place / entry.linkname, target))
        for number, entry in reversed(list(enumerate(paths))):
            if entry.mode & (GO_DIR | GO_LINK) or entry.linkname:
                continue
            await self._say(stream, messages.Packet(type=messages.PACKET_REQ, ID=number))
            data = b""
            while (packet := await self._packet(stream)).data:
                assert number == packet.ID
                data += packet.data
            (place / entry.path).write_bytes(data)
        for source, target in links:
            target.hardlink_to(source)
        await self._say(stream, messages.Packet(type=messages.PACKET_FIN))
        assert (await self._packet(stream)).type == messages.PACKET_FIN

    async def _packet(self, stream: Any) -> messages.Packet:
        return messages.Packet.decode(await stream.recv_message())

    async def _say(self, stream: Any, packet: messages.Packet) -> None:
        await stream.send_message(Raw(packet.encode()))

    async def _files(self, stream: Any) -> None:
        root = self.directories.get(stream.metadata.get("dir-name", ""))
        if root is None:
            raise GRPCError(Status.UNKNOWN, "no access allowed to dir")
        includes = stream.metadata.getall("include-patterns", [])
        rules = IgnoreRules(stream.metadata.getall("exclude-patterns", []))
        paths = []
        for path in sorted(root.rglob("*"), key=lambda path: path.parts):
            name = str(path.relative_to(root))
            around = [i for i in includes if i == name or f"{i}/".startswith(f"{name}/")]
            within = [i for i in includes if f"{name}/".startswith(f"{i}/")]
            wanted = not includes or bool(around or within)
            if wanted and not rules.excludes(name):
                paths.append(path)
                self.sent.append(name)
                await stream.send_message(packet_of(root, path))
        await stream.send_message(messages.Packet(type=messages.PACKET_STAT))
        async for packet in stream:
            if packet.type == messages.PACKET_FIN:
                await stream.send_message(messages.Packet(type=messages.PACKET_FIN))
                return
            data = paths[packet.ID].read_bytes()
            for start in range(0, len(data), 32768):
                piece = data[start : start + 32768]
                await stream.send_message(
                    messages.Packet(type=messages.PACKET_DATA, ID=packet.ID, data=piece)
                )
            await stream.send_message(messages.Packet(type=messages.PACKET_DATA, ID=packet.ID))


def packet_of(root: Path, path: Path) -> messages.Packet:
    info = path.lstat()
    mode, link = stat.S_IMODE(info.st_mode) & 0o777, ""
    if stat.S_ISDIR(info.st_mode):
        mode |= GO_DIR
    elif stat.S_ISLNK(info.st_mode):
        mode, link = mode | GO_LINK, os.readlink(path)
    found = messages.Stat(
        path=str(path.relative_to(root)), mode=mode, uid=0, gid=0, linkname=link,
        size=info.st_size if stat.S_ISREG(info.st_mode) else 0, modTime=info.st_mtime_ns,
    )  # fmt: skip
    return messages.Packet(type=messages.PACKET_STAT, stat=found)


class Outcome:
    """What came of a build."""

    def __init__(self, solved: Any, driven: Any, status: list[control.StatusResponse]) -> None:
        self.solved = solved
        self.driven = driven
        self.vertexes = [vertex for response in status for vertex in response.vertexes]
        self.logs = b"".join(log.msg for response in status for log in response.logs).decode()
        self.warnings = [warning for response in status for warning in response.warnings]

    @property
    def response(self) -> dict[str, str]:
        assert not isinstance(self.solved, GRPCError), self.solved
        found: dict[str, str] = self.solved.ExporterResponse
        return found

    @property
    def error(self) -> str:
        assert isinstance(self.solved, GRPCError), self.solved
        return self.solved.message or ""

    def names(self) -> list[str]:
        return list(dict.fromkeys(vertex.name for vertex in self.vertexes))

    def cached(self) -> set[str]:
        return {vertex.name for vertex in self.vertexes if vertex.cached}
