"""Streams: hijacked connections, wait, logs, events."""

from __future__ import annotations

import asyncio
import socket
import struct

import pytest

from api.fake_engine import EXEC_ID, ID, FakeEngine, finish, record, talk
from api.wire import Client
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.logs import LogEntry
from ketch.engine.containers.record import ContainerState, Status
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.events.values import Event

UPGRADE = {"Connection": "Upgrade", "Upgrade": "tcp"}
ATTACH = f"/v1.51/containers/{ID}/attach?stream=1&stdin=1&stdout=1&stderr=1"


async def taken(engine: FakeEngine) -> AttachOptions:
    return await asyncio.wait_for(engine.containers.attached.get(), 60)


async def test_attach_hands_the_socket_over(client: Client, engine: FakeEngine) -> None:
    await client.send("POST", ATTACH, **UPGRADE)
    head = await client.head()
    assert (head.status, head.reason) == (101, "UPGRADED")
    assert head.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    assert (head.headers["Connection"], head.headers["Upgrade"]) == ("Upgrade", "tcp")
    options = await taken(engine)
    assert (options.stdin, options.stdout, options.stderr, options.framed) == (True,) * 4
    with options.sock as sock:
        talk(sock, b"hello")
        assert await client.reader.readexactly(5) == b"hello"
        client.writer.write(b"input")
        client.writer.write_eof()
        assert await asyncio.to_thread(sock.recv, 64) == b"input"
        assert await asyncio.to_thread(sock.recv, 64) == b""
        talk(sock, b"after half-close")  # the other direction still works
        assert await client.reader.readexactly(16) == b"after half-close"
    assert await client.reader.read() == b""


async def test_bytes_behind_the_request_are_kept(client: Client, engine: FakeEngine) -> None:
    request = f"POST {ATTACH} HTTP/1.1\r\nHost: x\r\nConnection: Upgrade\r\nUpgrade: tcp\r\n\r\n"
    client.writer.write(request.encode() + b"early input")
    client.writer.write_eof()
    assert (await client.head()).status == 101
    options = await taken(engine)
    with options.sock as sock:
        sock.setblocking(True)
        got = options.read_ahead
        while len(got) < 11:
            got += await asyncio.to_thread(sock.recv, 64)
        assert got == b"early input"
        assert await asyncio.to_thread(sock.recv, 64) == b""
        talk(sock, b"out")
        assert await client.reader.readexactly(3) == b"out"


async def test_input_in_pieces(client: Client, engine: FakeEngine) -> None:
    request = f"POST {ATTACH} HTTP/1.1\r\nHost: x\r\n\r\nabc".encode()
    for byte in request:
        client.writer.write(bytes((byte,)))
        await client.writer.drain()
        await asyncio.sleep(0)
    assert (await client.head()).status == 200
    options = await taken(engine)
    with options.sock as sock:
        sock.setblocking(True)
        got = options.read_ahead
        while len(got) < 3:
            got += await asyncio.to_thread(sock.recv, 64)
    assert got == b"abc"


async def test_attach_without_upgrade(client: Client, engine: FakeEngine) -> None:
    await client.send("POST", ATTACH)
    head = await client.head()
    assert (head.status, head.reason) == (200, "OK")
    assert "Content-Length" not in head.headers
    (await taken(engine)).sock.close()
    assert await client.reader.read() == b""


@pytest.mark.parametrize(
    ("version", "tty", "kind"),
    [("1.41", False, "raw"), ("1.42", False, "multiplexed"), ("1.51", True, "raw")],
)
async def test_attach_type(
    client: Client, engine: FakeEngine, version: str, tty: bool, kind: str
) -> None:
    engine.containers.records[ID] = record(spec=ContainerSpec(image="x", tty=tty))
    await client.send("POST", f"/v{version}/containers/{ID}/attach?stream=1", **UPGRADE)
    head = await client.head()
    assert head.headers["Content-Type"] == f"application/vnd.docker.{kind}-stream"
    options = await taken(engine)
    assert options.framed is not tty
    options.sock.close()


async def test_attach_errors_are_plain_text(client: Client, engine: FakeEngine) -> None:
    missing = await client.ask("POST", "/containers/nope/attach", **UPGRADE)
    assert missing.status == 404
    assert missing.headers["Content-Type"].startswith("text/plain")
    engine.containers.records[ID] = record(state=ContainerState(status=Status.PAUSED))
    reader, writer = await asyncio.open_unix_connection(client.writer.get_extra_info("peername"))
    paused = await Client(reader, writer).ask("POST", "/containers/web/attach", **UPGRADE)
    writer.close()
    assert paused.status == 409
    assert paused.body == b"container web is paused, unpause the container before attach\n"


async def test_exec_start(client: Client, engine: FakeEngine) -> None:
    body = {"Cmd": ["sh"], "AttachStdout": True, "AttachStdin": True, "Tty": True}
    assert (await client.ask("POST", f"/containers/{ID}/exec", body)).json == {"Id": EXEC_ID}
    start = b'{"Detach":false,"Tty":true,"ConsoleSize":[30,100]}'
    await client.send(
        "POST", f"/exec/{EXEC_ID}/start", start, Content_Type="application/json", **UPGRADE
    )
    assert (await client.head()).status == 101
    options, size = await asyncio.wait_for(engine.execs.started.get(), 60)
    assert size == (30, 100)
    assert (options.stdin, options.stdout, options.stderr) == (True, True, False)
    assert not options.framed
    with options.sock as sock:
        talk(sock, b"done")
    assert await client.reader.read() == b"done"


async def test_exec_start_with_body_and_input_in_one_piece(
    client: Client, engine: FakeEngine
) -> None:
    start = b'{"Detach":false,"Tty":false}'
    request = (
        f"POST /exec/{EXEC_ID}/start HTTP/1.1\r\nHost: x\r\nContent-Type: application/json\r\n"
        f"Connection: Upgrade\r\nUpgrade: tcp\r\nContent-Length: {len(start)}\r\n\r\n"
    )
    client.writer.write(request.encode() + start + b"stdin!")
    assert (await client.head()).status == 101
    options, _ = await asyncio.wait_for(engine.execs.started.get(), 60)
    with options.sock as sock:
        sock.setblocking(True)
        got = options.read_ahead or await asyncio.to_thread(sock.recv, 64)
    assert got == b"stdin!"


async def test_exec_detached(client: Client, engine: FakeEngine) -> None:
    found = await client.ask("POST", f"/exec/{EXEC_ID}/start", {"Detach": True})
    assert (found.status, found.body) == (200, b"")
    assert engine.execs.started.get_nowait() == (None, (0, 0))


async def test_wait_head_comes_before_the_exit(client: Client, engine: FakeEngine) -> None:
    await client.send("POST", f"/containers/{ID}/wait?condition=next-exit")
    head = await asyncio.wait_for(client.head(), 60)
    assert head.status == 200
    assert head.headers["Transfer-Encoding"] == "chunked"
    finish(engine.containers.waiters[0], 3)
    body = b"".join([chunk async for chunk in client.chunks()])
    assert body == b'{"StatusCode":3}\n'


async def test_wait_is_dropped_with_its_client(client: Client, engine: FakeEngine) -> None:
    await client.send("POST", f"/containers/{ID}/wait")
    await client.head()
    client.writer.close()
    with pytest.raises(asyncio.CancelledError):
        await asyncio.wait_for(engine.containers.waiters[0].future, 60)


async def test_wait_bad_condition(client: Client) -> None:
    found = await client.ask("POST", f"/containers/{ID}/wait?condition=bogus")
    assert (found.status, found.message) == (400, 'invalid condition: "bogus"')


def frames(data: bytes) -> list[tuple[int, bytes]]:
    found = []
    while data:
        stream, length = struct.unpack(">BxxxI", data[:8])
        found.append((stream, data[8 : 8 + length]))
        data = data[8 + length :]
    return found


async def test_logs_framing_and_timestamps(client: Client, engine: FakeEngine) -> None:
    engine.containers.entries = [
        LogEntry(time=1_700_000_000_500_000_000, stream="stdout", data=b"out\n"),
        LogEntry(
            time=1_700_000_001_000_000_000,
            stream="stderr",
            data=b"err\n",
            attrs={"k": "v", "a": "b"},
        ),
    ]
    found = await client.ask("GET", f"/containers/{ID}/logs?stdout=1&stderr=1&tail=abc")
    assert found.headers["Content-Type"] == "application/vnd.docker.multiplexed-stream"
    assert frames(found.body) == [(1, b"out\n"), (2, b"err\n")]
    query = "stdout=1&stderr=1&timestamps=1&details=1"
    found = await client.ask("GET", f"/containers/{ID}/logs?{query}")
    assert frames(found.body) == [
        (1, b"2023-11-14T22:13:20.500000000Z  out\n"),
        (2, b"2023-11-14T22:13:21.000000000Z a=b,k=v err\n"),
    ]
    none = await client.ask("GET", f"/containers/{ID}/logs")
    assert none.message == "must specify at least one of 'stdout' or 'stderr'"


async def test_many_log_lines_come_in_order(client: Client, engine: FakeEngine) -> None:
    engine.containers.entries = [
        LogEntry(time=1, stream="stdout", data=b"%d\n" % number) for number in range(20_000)
    ]
    found = await client.ask("GET", f"/v1.41/containers/{ID}/logs?stdout=1")
    assert found.headers["Content-Type"] == "application/vnd.docker.raw-stream"
    assert [int(payload) for _, payload in frames(found.body)] == list(range(20_000))


async def test_followed_logs_arrive_at_once(client: Client, engine: FakeEngine) -> None:
    engine.containers.entries = [LogEntry(time=1, stream="stdout", data=b"x\n")]
    await client.send("GET", f"/containers/{ID}/logs?stdout=1&follow=1")
    await client.head()
    chunk = await asyncio.wait_for(anext(client.chunks()), 60)
    assert frames(chunk) == [(1, b"x\n")]
    engine.containers.blocked.set()
    assert await asyncio.wait_for(client.reader.readline(), 60) == b"0\r\n"


async def test_events_flush_line_by_line(client: Client, engine: FakeEngine) -> None:
    await client.send("GET", "/events")
    assert (await asyncio.wait_for(client.head(), 60)).status == 200
    chunks = client.chunks()
    for action in ("create", "die"):
        event = Event(
            type="container",
            action=action,
            actor=ID,
            attributes={"name": "web", "image": "busybox"},
            time=1_700_000_000_000_000_005,
        )
        engine.events.queue.put_nowait(event)
        line = await asyncio.wait_for(anext(chunks), 60)
        assert line.endswith(b"\n")
        assert f'"Action":"{action}"'.encode() in line
        assert b'"timeNano":1700000000000000005' in line


async def test_a_client_that_vanishes_in_the_handshake(engine: FakeEngine, address: str) -> None:
    sock = socket.socket(socket.AF_UNIX)
    sock.connect(address)
    sock.sendall(b"POST " + ATTACH.encode() + b" HTTP/1.1\r\nHost: x\r\nUpgrade: tcp\r\n")
    sock.close()
    reader, writer = await asyncio.open_unix_connection(address)
    assert (await Client(reader, writer).ask("GET", "/_ping")).status == 200
    writer.close()


async def test_what_fails_in_the_middle_has_no_end(client: Client) -> None:
    """A second answer inside the first would be taken for data; a missing end is seen."""
    await client.send("GET", f"/v1.51/containers/{ID}/archive?path=/x")
    assert (await client.head()).status == 200
    rest = await asyncio.wait_for(client.reader.read(), 60)
    assert rest == b"9\r\nbeginning\r\n"


async def test_a_stream_without_end_ends_with_its_clients_side(client: Client) -> None:
    """Behind ``docker system dial-stdio`` a client that has gone looks so, and never hangs up."""
    await client.send("GET", "/events")
    assert (await client.head()).status == 200
    client.writer.write_eof()
    assert await asyncio.wait_for(client.reader.read(), 60) == b""
