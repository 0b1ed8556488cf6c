"""Sessions: what a client offers while its builds run.

A client opens a connection (POST /session, or a tunnel through ``Control.Session``), names itself
and the methods it serves, and then answers calls on it. A build names its session by ID; the two
may arrive in either order.
"""

from __future__ import annotations

import asyncio
import socket
from collections.abc import AsyncIterator, Iterable, Sequence
from contextlib import asynccontextmanager
from typing import Any

from grpclib.client import Stream
from grpclib.const import Cardinality, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from ketch.build.request.offers import Layout, LayoutSource, Pieces, Streams
from ketch.buildkit.messages.session import (
    BytesMessage,
    CheckAgentRequest,
    CheckAgentResponse,
    CredentialsRequest,
    CredentialsResponse,
    GetSecretRequest,
    GetSecretResponse,
    HealthCheckRequest,
    HealthCheckResponse,
)
from ketch.buildkit.session import filesend
from ketch.buildkit.session.content import ClientStore
from ketch.buildkit.wire import SocketChannel
from ketch.errors import InvalidParameter, NotFound, Unavailable

SECRET = "/moby.buildkit.secrets.v1.Secrets/GetSecret"
CREDENTIALS = "/moby.filesync.v1.Auth/Credentials"
CHECK_AGENT = "/moby.sshforward.v1.SSH/CheckAgent"
FORWARD_AGENT = "/moby.sshforward.v1.SSH/ForwardAgent"
_HEADER = "x-docker-expose-session-"
HEALTH = "/grpc.health.v1.Health/Check"
_HEALTHY, _AILING = 2.0, 0.5  # seconds between checks
_SLOW = 30.0  # seconds that a check may take
_FAILURES = 3
_PATIENCE = 10.0  # seconds until a session that a build names must be there
_CHUNK = 1 << 15


class Session:
    """One client's session; an ``Offers`` for the builder."""

    def __init__(
        self, id: str, name: str, methods: frozenset[str], channel: SocketChannel, client: str = ""
    ) -> None:
        """``client`` is the same for all sessions about one directory of one client, or empty."""
        self.id = id
        self.client = client
        self.name = name
        self._methods = methods
        self._channel = channel
        self._pumps: set[asyncio.Task[None]] = set()

    def supports(self, method: str) -> bool:
        """Whether the client serves a method; its headers name them in lower case."""
        return method.lower() in self._methods

    @asynccontextmanager
    async def stream(
        self,
        method: str,
        request: type[Any],
        reply: type[Any],
        metadata: Sequence[tuple[str, str]] = (),
    ) -> AsyncIterator[Stream[Any, Any]]:
        """A call with messages both ways; raises ``Unavailable`` when the client goes away."""
        if not self.supports(method):
            raise NotFound(f"the client does not offer {method}")
        call = self._channel.request(
            method, Cardinality.STREAM_STREAM, request, reply, metadata=list(metadata)
        )
        try:
            async with call as stream:
                await stream.send_request()
                yield stream
        except (StreamTerminatedError, OSError) as error:
            raise Unavailable(f"the client's session broke in {method}: {error}") from None
        except GRPCError as error:
            raise Unavailable(f"the client failed in {method}: {error.message}") from None

    async def ask(
        self,
        method: str,
        request: Any,
        reply: type[Any],
        metadata: Sequence[tuple[str, str]] = (),
    ) -> Any:
        """One request, one answer; None when the client says that there is none."""
        kind = Cardinality.UNARY_UNARY
        call = self._channel.request(method, kind, type(request), reply, metadata=list(metadata))
        try:
            async with call as stream:
                await stream.send_message(request, end=True)
                return await stream.recv_message()
        except GRPCError as error:
            if error.status in (Status.NOT_FOUND, Status.UNIMPLEMENTED):
                return None
            if method == CHECK_AGENT:
                return None  # the client's words for an agent that it does not have
            raise Unavailable(f"the client failed in {method}: {error.message}") from None
        except (StreamTerminatedError, OSError) as error:
            raise Unavailable(f"the client's session broke in {method}: {error}") from None

    async def secret(self, id: str) -> bytes | None:
        """Asked of the client each time; nothing is kept."""
        if not self.supports(SECRET):
            return None
        found = await self.ask(SECRET, GetSecretRequest(ID=id), GetSecretResponse)
        return None if found is None else bytes(found.data)

    async def credentials(self, host: str) -> tuple[str, str] | None:
        """User and password (or "" and an identity token) for a registry."""
        if not self.supports(CREDENTIALS):
            return None
        asked = "registry-1.docker.io" if host == "docker.io" else host
        found = await self.ask(CREDENTIALS, CredentialsRequest(Host=asked), CredentialsResponse)
        return (found.Username, found.Secret) if found is not None and found.Secret else None

    async def has_agent(self, id: str) -> bool:
        """Asked of the client."""
        if not self.supports(CHECK_AGENT):
            return False
        found = await self.ask(CHECK_AGENT, CheckAgentRequest(ID=id), CheckAgentResponse)
        return found is not None

    async def agent(self, id: str) -> Streams:
        """A connection whose bytes travel in messages."""
        ours, theirs = socket.socketpair()
        reader, writer = await asyncio.open_connection(sock=theirs)
        pump = asyncio.create_task(self._forward(id, reader, writer))
        self._pumps.add(pump)
        pump.add_done_callback(self._pumps.discard)
        return await asyncio.open_connection(sock=ours)

    async def _forward(
        self, id: str, reader: asyncio.StreamReader, writer: asyncio.StreamWriter
    ) -> None:
        try:
            metadata = [("ssh-agent-id", id), ("buildkit.ssh.id", id)]
            async with self.stream(FORWARD_AGENT, BytesMessage, BytesMessage, metadata) as stream:
                sending = asyncio.create_task(_send(reader, stream))
                try:
                    async for message in stream:
                        writer.write(message.data)
                        await writer.drain()
                finally:
                    sending.cancel()
        except (Unavailable, NotFound):
            pass  # the program in the step sees its connection end
        finally:
            writer.close()

    async def deliver(self, number: int, pieces: Pieces, scratch: str, *, unpacked: bool) -> None:
        """As an archive or as files."""
        if unpacked:
            await filesend.send_files(self, number, pieces, scratch)
        else:
            await filesend.send_archive(self, number, pieces)

    async def keep(self, number: int, store: str, layout: Layout, scratch: str) -> None:
        """Blob by blob; the client writes ``index.json`` itself, by what the exporters say."""
        target = ClientStore(self, store)
        for blob in layout.blobs:
            await target.write(blob)

    async def layout(self, store: str) -> LayoutSource:
        """Asked for blob by blob."""
        return ClientStore(self, store)

    async def run(self) -> None:
        """Until the client goes, or serves no more: one that gave up before its connection was
        made waits for us to close it."""
        ends = {asyncio.create_task(self._channel.gone())}
        if self.supports(HEALTH):
            ends.add(asyncio.create_task(self._ails()))
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        finally:
            for end in ends:
                end.cancel()
            await asyncio.gather(*ends, return_exceptions=True)
            for pump in self._pumps:
                pump.cancel()
            self._channel.close()

    async def _ails(self) -> None:
        """Returns when the client's server fails several checks after another."""
        failures = 0
        while failures < _FAILURES:
            await asyncio.sleep(_HEALTHY if failures == 0 else _AILING)
            try:
                async with asyncio.timeout(_SLOW):
                    answer = await self.ask(HEALTH, HealthCheckRequest(), HealthCheckResponse)
                failures = 0 if answer is not None else failures + 1
            except (TimeoutError, Unavailable):
                failures += 1


async def _send(reader: asyncio.StreamReader, stream: Stream[Any, Any]) -> None:
    while data := await reader.read(_CHUNK):
        await stream.send_message(BytesMessage(data=data))
    await stream.end()


class Sessions:
    """The open sessions by ID."""

    def __init__(self) -> None:
        self._open: dict[str, Session] = {}
        self._changed = asyncio.Condition()

    async def serve(self, sock: socket.socket, headers: Iterable[tuple[str, str]]) -> None:
        """Run the session that the headers describe until the client closes the connection."""
        channel = SocketChannel(sock)
        try:
            session = described(headers, channel)
        except InvalidParameter:
            channel.close()
            raise
        async with self._changed:
            self._open[session.id] = session
            self._changed.notify_all()
        try:
            await session.run()
        finally:
            if self._open.get(session.id) is session:
                del self._open[session.id]

    async def get(self, id: str) -> Session:
        """The session, when it is there; raises ``Unavailable`` if it does not come."""
        try:
            async with asyncio.timeout(_PATIENCE), self._changed:
                await self._changed.wait_for(lambda: id in self._open)
                return self._open[id]
        except TimeoutError:
            raise Unavailable(f"no active session for {id}: the client did not open it") from None


def described(headers: Iterable[tuple[str, str]], channel: SocketChannel) -> Session:
    """The session of the headers; repeated ones name the methods."""
    single: dict[str, str] = {}
    methods = set()
    for name, value in headers:
        key = name.lower().removeprefix(_HEADER)
        if key == "grpc-method":
            methods.add(value.lower())
        elif key != name.lower():
            single[key] = value
    if not single.get("uuid"):
        raise InvalidParameter("a session needs the header X-Docker-Expose-Session-Uuid")
    name, client = single.get("name", ""), single.get("sharedkey", "")
    return Session(single["uuid"], name, frozenset(methods), channel, client)
