"""Sessions whose connection is carried in the messages of ``Control.Session``."""

from __future__ import annotations

import asyncio
import socket
from types import SimpleNamespace
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ketch.buildkit.messages import control
from ketch.buildkit.messages import session as messages
from ketch.buildkit.service import Service
from ketch.buildkit.session import sessions
from ketch.buildkit.session.sessions import SECRET, Sessions
from ketch.buildkit.wire import ServedConnection, SocketChannel


async def test_a_carried_session_without_a_name_is_told_so() -> None:
    """The client once waited for ever."""
    builder: Any = SimpleNamespace(history=None)
    method = "/moby.buildkit.v1.Control/Session"
    ours, theirs = socket.socketpair()
    methods = Service(builder, Sessions()).methods()
    serving = asyncio.create_task(ServedConnection(methods).serve(theirs, b""))
    channel = SocketChannel(ours)
    types = control.BytesMessage, control.BytesMessage
    call = channel.request(method, Cardinality.STREAM_STREAM, *types)
    async with asyncio.timeout(60):
        with pytest.raises(GRPCError, match="Uuid"):
            await opened(call)
    channel.close()
    await serving


async def test_a_session_that_does_not_come(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ketch.buildkit.session.sessions._PATIENCE", 0.05)
    builder: Any = SimpleNamespace(history=None)
    ours, theirs = socket.socketpair()
    methods = Service(builder, Sessions()).methods()
    serving = asyncio.create_task(ServedConnection(methods).serve(theirs, b""))
    channel = SocketChannel(ours)
    types = control.SolveRequest, control.SolveResponse
    call = channel.request("/moby.buildkit.v1.Control/Solve", Cardinality.UNARY_UNARY, *types)
    request = control.SolveRequest(Ref="r", Frontend="dockerfile.v0", Session="none")
    async with asyncio.timeout(60), call as stream:
        await stream.send_message(request, end=True)
        with pytest.raises(GRPCError, match="no active session for none"):
            await stream.recv_message()
    channel.close()
    await serving


async def opened(call: Any) -> Any:
    """A stream whose client goes on listening."""
    async with call as stream:
        await stream.send_request()
        return await stream.recv_message()


async def test_a_session_carried_in_messages_serves_and_ends() -> None:
    """As clients have it that reach BuildKit by gRPC alone."""

    async def secret(stream: Any) -> None:
        request = await stream.recv_message()
        await stream.send_message(messages.GetSecretResponse(data=request.ID.encode() * 50_000))

    types = messages.GetSecretRequest, messages.GetSecretResponse
    offered = {SECRET: Handler(secret, Cardinality.UNARY_UNARY, *types)}
    here, there = socket.socketpair()
    offering = asyncio.create_task(ServedConnection(offered).serve(there, b""))
    reader, writer = await asyncio.open_connection(sock=here)

    sessions = Sessions()
    builder: Any = SimpleNamespace(history=None)
    ours, theirs = socket.socketpair()
    methods = Service(builder, sessions).methods()
    serving = asyncio.create_task(ServedConnection(methods).serve(theirs, b""))
    channel = SocketChannel(ours)
    prefix = "x-docker-expose-session"
    metadata = [(f"{prefix}-uuid", "s1"), (f"{prefix}-grpc-method", SECRET)]
    kinds = control.BytesMessage, control.BytesMessage
    async with (
        asyncio.timeout(60),
        channel.request(
            "/moby.buildkit.v1.Control/Session",
            Cardinality.STREAM_STREAM,
            *kinds,
            metadata=metadata,
        ) as stream,
    ):
        await stream.send_request()

        async def back() -> None:
            while data := await reader.read(1 << 15):
                await stream.send_message(control.BytesMessage(data=data))

        async def forth() -> None:
            async for message in stream:
                writer.write(message.data)

        pumps = [asyncio.create_task(back()), asyncio.create_task(forth())]
        session = await sessions.get("s1")
        assert await session.secret("ab") == b"ab" * 50_000
        for pump in pumps:
            pump.cancel()
        await asyncio.gather(*pumps, return_exceptions=True)
        await stream.cancel()
    channel.close()
    async with asyncio.timeout(60):
        await serving
    assert sessions._open == {}
    writer.close()
    await offering


@pytest.mark.parametrize("well", [True, False])
async def test_a_session_that_serves_no_more_is_closed(
    well: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Docker's client, refused before its session was open, waited for ever for its end."""
    monkeypatch.setattr(sessions, "_HEALTHY", 0.05)
    monkeypatch.setattr(sessions, "_AILING", 0.05)
    asked = []

    async def check(stream: Any) -> None:
        await stream.recv_message()
        asked.append(1)
        if well:
            await stream.send_message(messages.HealthCheckResponse(status=1))
        # else: a stopped server's answer has neither message nor status
        elif len(asked) > 1:
            raise GRPCError(Status.UNAVAILABLE, "stopped")

    types = messages.HealthCheckRequest, messages.HealthCheckResponse
    offered = {sessions.HEALTH: Handler(check, Cardinality.UNARY_UNARY, *types)}
    here, there = socket.socketpair()
    offering = asyncio.create_task(ServedConnection(offered).serve(there, b""))
    prefix = "x-docker-expose-session"
    headers = [(f"{prefix}-uuid", "s1"), (f"{prefix}-grpc-method", sessions.HEALTH)]
    running = asyncio.create_task(Sessions().serve(here, headers))
    async with asyncio.timeout(20):
        if not well:
            await asyncio.gather(running, offering)
            return
        while len(asked) < 10:
            await asyncio.sleep(0.01)
    assert not running.done()
    running.cancel()
    await asyncio.gather(running, offering, return_exceptions=True)
