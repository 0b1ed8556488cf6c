"""Clients that break the rules of gRPC or of the transfer of files: an error, and little memory."""

from __future__ import annotations

import asyncio
import io
import socket
import struct
import tarfile
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from pathlib import Path
from typing import Any

import pytest
from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError, StreamTerminatedError

from ketch.build.progress.events import STDERR, STDOUT, Began, Log, Vertex
from ketch.build.request.options import BuildOptions
from ketch.buildkit.calls import guarded
from ketch.buildkit.classic import ClassicBuilds
from ketch.buildkit.frontend.attributes import build_options
from ketch.buildkit.history.service import HistoryFront
from ketch.buildkit.jobs import Job
from ketch.buildkit.messages import control
from ketch.buildkit.messages import session as messages
from ketch.buildkit.messages.session import Packet, Stat
from ketch.buildkit.session import filesync
from ketch.buildkit.session.sessions import SECRET, Session
from ketch.buildkit.status import StatusWriter
from ketch.buildkit.wire import ServedConnection, SocketChannel
from ketch.engine.builder.history.records import BuildHistory
from ketch.errors import Conflict, InvalidParameter, NotFound
from ketch.state.database import Database

Serve = Callable[[Any], Awaitable[None]]


@asynccontextmanager
async def session(**methods: Serve) -> AsyncIterator[Session]:
    """A session whose client serves ``files`` and ``secret`` in these ways."""
    handlers = {}
    if "files" in methods:
        kind = Cardinality.STREAM_STREAM
        handlers[filesync.METHOD] = Handler(methods["files"], kind, Packet, Packet)
    if "secret" in methods:
        types = messages.GetSecretRequest, messages.GetSecretResponse
        handlers[SECRET] = Handler(methods["secret"], Cardinality.UNARY_UNARY, *types)
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(ServedConnection(handlers).serve(theirs, b""))
    found = Session("id", "", frozenset(name.lower() for name in handlers), SocketChannel(ours))
    running = asyncio.create_task(found.run())
    try:
        yield found
    finally:
        running.cancel()
        serving.cancel()
        await asyncio.gather(running, serving, return_exceptions=True)


def raw(prefix: bytes) -> Serve:
    """Answers with a message that begins so and never ends."""

    async def serve(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_initial_metadata()
        await stream._stream.send_data(prefix)
        await asyncio.sleep(3600)

    return serve


def cut_short(prefix: bytes) -> Serve:
    async def serve(stream: Any) -> None:
        await stream.recv_message()
        await stream.send_initial_metadata()
        await stream._stream.send_data(prefix)
        await stream.send_trailing_metadata()

    return serve


@pytest.mark.parametrize(
    ("serve", "words"),
    [
        (raw(struct.pack(">?I", False, 1 << 31)), "larger than"),
        (raw(struct.pack(">?I", True, 1)), "compressed"),
        (cut_short(struct.pack(">?I", False, 9) + b"\n\x02"), "shorter than it says"),
        (cut_short(b"\0\0"), "shorter than it says"),
    ],
)
async def test_messages_that_break_the_rules_are_refused(serve: Serve, words: str) -> None:
    async with session(secret=serve) as client, asyncio.timeout(60):
        with pytest.raises(InvalidParameter, match=words):
            await client.secret("x")


async def test_requests_of_clients_are_bounded_too() -> None:
    """The calls that the daemon answers: not one of them keeps four gigabytes."""

    async def info(stream: Any) -> None:
        try:
            await stream.recv_message()
        except InvalidParameter as error:
            raise GRPCError(Status.INVALID_ARGUMENT, str(error)) from None

    types = control.InfoRequest, control.InfoResponse
    method = "/moby.buildkit.v1.Control/Info"
    handlers = {method: Handler(info, Cardinality.UNARY_UNARY, *types)}
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(ServedConnection(handlers).serve(theirs, b""))
    channel = SocketChannel(ours)
    try:
        async with asyncio.timeout(60):
            with pytest.raises(GRPCError, match="larger than"):
                await begin_large_call(channel.request(method, Cardinality.UNARY_UNARY, *types))
    finally:
        channel.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def called(call: Any, request: Any) -> Any:
    async with call as stream:
        await stream.send_message(request, end=True)
        return await stream.recv_message()


async def begin_large_call(call: Any) -> None:
    """The head of a message of 4 GiB."""
    async with call as stream:
        await stream.send_request()
        await stream._stream.send_data(struct.pack(">?I", False, (1 << 32) - 1))
        await stream.recv_message()


def offering(*entries: Stat, asked: list[int] | None = None) -> Serve:
    """Tells of these files, and sends one byte 100,000 times for each that is asked for."""

    async def serve(stream: Any) -> None:
        for entry in entries:
            await stream.send_message(Packet(type=messages.PACKET_STAT, stat=entry))
        await stream.send_message(Packet(type=messages.PACKET_STAT))
        async for packet in stream:
            if packet.type == messages.PACKET_FIN:
                await stream.send_message(Packet(type=messages.PACKET_FIN))
                return
            if asked is not None:
                asked.append(packet.ID)
            data = b"x" * 100_000
            await stream.send_message(Packet(type=messages.PACKET_DATA, ID=packet.ID, data=data))
            await stream.send_message(Packet(type=messages.PACKET_DATA, ID=packet.ID))

    return serve


async def test_errors_that_quote_what_is_no_text_reach_the_client() -> None:
    async def fails(stream: Any) -> None:
        raise NotFound(f"content {(await stream.recv_message()).digest}: not found")

    types = messages.InfoRequest, messages.InfoResponse
    method = "/containerd.services.content.v1.Content/Info"
    handlers = {method: Handler(guarded(fails), Cardinality.UNARY_UNARY, *types)}
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(ServedConnection(handlers).serve(theirs, b""))
    channel = SocketChannel(ours)
    try:
        async with asyncio.timeout(60):
            async with channel.request(method, Cardinality.UNARY_UNARY, *types) as call:
                await call.send_message(messages.InfoRequest(digest="a\udce4"), end=True)
                with pytest.raises(GRPCError) as raised:
                    await call.recv_message()
        assert raised.value.status is Status.NOT_FOUND
        assert raised.value.message == "content a\\udce4: not found"
    finally:
        channel.close()
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def test_files_that_nobody_asked_for_are_not_taken() -> None:
    """A client that tells of more than the Dockerfile is not asked for the rest."""
    asked: list[int] = []
    entries = (Stat(path="huge", mode=0o644, size=1 << 40), Stat(path="Dockerfile", size=100_000))
    async with session(files=offering(*entries, asked=asked)) as client, asyncio.timeout(60):
        found = await filesync.read_texts(client, "context", ["Dockerfile", ".dockerignore"])
    assert {name: len(data) for name, data in found.items()} == {"Dockerfile": 100_000}
    assert asked == [1]


@pytest.mark.parametrize(
    "entry",
    [
        Stat(path="dev", mode=1 << 26, devmajor=1 << 40),
        Stat(path="dev", mode=1 << 26, devminor=-1 << 40),
        Stat(path="a", xattrs={"user.\udcff": b"1"}),
    ],
)
async def test_files_that_no_archive_can_hold_are_refused_by_name(entry: Stat) -> None:
    async with session(files=offering(entry)) as client, asyncio.timeout(60):
        with pytest.raises(InvalidParameter, match=f"file '{entry.path}'"):
            async for _ in filesync.tar_stream(client, "context"):
                pass


async def test_odd_files_become_an_archive_that_can_be_read() -> None:
    """Sizes, times and owners below zero, names that are not UTF-8, contents of other lengths."""
    entries = (
        Stat(path="grew", mode=0o644, size=3),
        Stat(path="shrank", mode=0o644, size=200_000),
        Stat(path="less", mode=0o644, size=-5),
        Stat(path="old", mode=1 << 31 | 0o755, modTime=-(1 << 62), uid=-1),
        Stat(path="\udcff", mode=1 << 27 | 0o777, linkname="\udcfe"),
    )
    async with session(files=offering(*entries)) as client, asyncio.timeout(60):
        data = b"".join([chunk async for chunk in filesync.tar_stream(client, "context")])
    with tarfile.open(fileobj=io.BytesIO(data), mode="r:") as archive:
        sizes = {member.name: member.size for member in archive}
    assert sizes == {"grew": 3, "shrank": 200_000, "less": 0, "old": 0, "\udcff": 0}


@pytest.mark.parametrize("size", [1 << 40, (1 << 63) - 1])
async def test_a_file_that_is_not_what_it_was_said_to_be_takes_no_memory(size: int) -> None:
    entry = Stat(path="holes", mode=0o644, size=size)
    async with session(files=offering(entry)) as client, asyncio.timeout(60):
        with pytest.raises(InvalidParameter, match="file 'holes' changed while it was sent"):
            await longest(filesync.tar_stream(client, "context"))


async def test_names_are_bounded_in_bytes_too(monkeypatch: pytest.MonkeyPatch) -> None:
    """Two million names of sixteen megabytes each were within the bounds."""
    monkeypatch.setattr(filesync, "_MOST_TOLD", 50_000)
    large = [Stat(path=f"x{n}", xattrs={"user.x": b"x" * 10_000}) for n in range(4)]
    entries = [Stat(path="p" * 9000), Stat(path="l", linkname="l" * 9000), *large]
    async with session(files=offering(*entries[:-1])) as client, asyncio.timeout(60):
        await longest(filesync.tar_stream(client, "context"))
    async with session(files=offering(*entries)) as client, asyncio.timeout(60):
        with pytest.raises(InvalidParameter, match="more than 50000 bytes"):
            await longest(filesync.tar_stream(client, "context"))


async def longest(pieces: AsyncIterator[bytes]) -> int:
    """Read to the end; bytes of the longest piece."""
    return max([len(piece) async for piece in pieces])


@pytest.mark.parametrize("text", ["a=1\nb=2", "x" * 200_000])
def test_hosts_that_are_no_list_are_refused(text: str) -> None:
    with pytest.raises(InvalidParameter, match="add-hosts"):
        build_options({"add-hosts": text})


def test_what_a_build_said_comes_in_messages_that_clients_take() -> None:
    """Clients refuse messages above 16 MiB; a build may have said more when it is asked about."""
    vertex = Vertex(digest="d", name="RUN yes")
    events = [Began(vertex, 1), *(Log("d", STDOUT, "y" * 65_536, 2) for _ in range(300))]
    found = [response.encode() for response in StatusWriter().responses(events)]
    assert max(map(len, found)) < 2 << 20
    logs = [log for data in found for log in control.StatusResponse.decode(data).logs]
    assert sum(len(log.msg) for log in logs) == 300 * 65_536


async def test_a_context_that_no_build_takes_is_sent_back(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("ketch.buildkit.classic._PATIENCE", 0.05)
    builds = ClassicBuilds(None, None)  # type: ignore[arg-type]
    with pytest.raises(NotFound, match="no build took"):
        await builds.upload("name", aiter_of())
    waiting = asyncio.create_task(builds.upload("name", aiter_of()))
    await asyncio.sleep(0)
    with pytest.raises(Conflict, match="here already"):
        await builds.upload("name", aiter_of())
    await asyncio.gather(waiting, return_exceptions=True)


async def aiter_of(*chunks: bytes) -> AsyncIterator[bytes]:
    for chunk in chunks:
        yield chunk


async def test_who_asks_for_the_history_leaves_nothing_behind(tmp_path: Path) -> None:
    """Once it was one listener for every question that nothing answered."""
    history = BuildHistory(Database(str(tmp_path / "ketch.db")))
    history.begin(BuildOptions())
    front = HistoryFront(history)
    request = control.BuildHistoryRequest(EarlyExit=True)
    assert len([event async for event in front.listen(request)]) == 1
    following = front.listen(control.BuildHistoryRequest())
    assert (await anext(following)).record.Ref
    await following.aclose()  # type: ignore[attr-defined]
    await asyncio.sleep(0)
    assert history._listeners == set()


@pytest.mark.parametrize("words", [{"ActiveOnly": True}, {"Limit": 1}, {"Filter": ["ref~=."]}])
async def test_who_follows_the_history_hears_what_becomes_of_builds(
    tmp_path: Path, words: dict[str, Any]
) -> None:
    """Once the end of a build was not told to who had asked for the active ones."""
    history = BuildHistory(Database(str(tmp_path / "ketch.db")))
    history.begin(BuildOptions()).end("completed")
    running = history.begin(BuildOptions())
    events = HistoryFront(history).listen(control.BuildHistoryRequest(**words))

    async def told() -> tuple[int, str]:
        event = await asyncio.wait_for(anext(events), 60)
        assert event.record is not None
        return event.type, event.record.Ref

    assert await told() == (0, running.record.ref)
    if "Filter" in words:
        assert (await told())[0] == 1  # the first one
    running.end("completed")
    assert await told() == (1, running.record.ref)
    next_ = history.begin(BuildOptions())
    assert await told() == (0, next_.record.ref)
    history.remove(running.record.ref)
    assert await told() == (2, running.record.ref)
    await events.aclose()  # type: ignore[attr-defined]


async def test_a_call_whose_client_is_gone_cleans_up_undisturbed() -> None:
    """Once it was cancelled a second time in the middle of that."""
    steps: list[str] = []
    begun = asyncio.Event()

    async def wait(stream: Any) -> None:
        begun.set()
        try:
            await asyncio.sleep(3600)
        finally:
            for step in ("one", "two", "three"):
                await asyncio.sleep(0.01)
                steps.append(step)

    types = control.InfoRequest, control.InfoResponse
    handlers = {"/x/Wait": Handler(wait, Cardinality.UNARY_UNARY, *types)}
    ours, theirs = socket.socketpair()
    serving = asyncio.create_task(ServedConnection(handlers).serve(theirs, b""))
    channel = SocketChannel(ours)
    call = channel.request("/x/Wait", Cardinality.UNARY_UNARY, *types)
    calling = asyncio.create_task(called(call, control.InfoRequest()))
    async with asyncio.timeout(60):
        await begun.wait()
        channel.close()
        with pytest.raises(StreamTerminatedError):
            await calling
        await serving
    assert steps == ["one", "two", "three"]


def test_inputs_are_found_through_any_number_of_hidden_vertices() -> None:
    """A Dockerfile may have thousands of instructions that make no layer."""
    first = Vertex(digest="first", name="FROM busybox")
    hidden = [
        Vertex(digest=str(number), name="ENV", layer=False, inputs=(str(number - 1), "first"))
        for number in range(1, 5000)
    ]
    last = Vertex(digest="last", name="RUN true", inputs=("4999",))
    events = [Began(vertex, 1) for vertex in (first, *hidden, last)]
    (response,) = StatusWriter().responses(events)
    assert response.vertexes[-1].inputs == ["0", "first"]


async def test_a_step_that_writes_single_letters_costs_little(tmp_path: Path) -> None:
    """Two million events of one letter each were a quarter of a gigabyte."""
    history = BuildHistory(Database(str(tmp_path / "ketch.db")))
    recording, job = history.begin(BuildOptions()), Job(control.SolveRequest())
    for number in range(100_000):
        event = Log("d", STDOUT, "x", number)
        recording.feed(event)
        await job.tell(event)
    recording.end("completed")
    kept = [event for event in history.events(recording.record) if isinstance(event, Log)]
    assert sum(len(event.text) for event in kept) == 100_000
    assert len(kept) < 100
    await job.end()
    (told,) = [events async for events in job.events()]
    assert len(told) < 70_000
    assert "clipped" in str(told[-1])


async def test_what_is_written_at_different_times_stays_apart(tmp_path: Path) -> None:
    history = BuildHistory(Database(str(tmp_path / "ketch.db")))
    recording = history.begin(BuildOptions())
    events = [
        Log("d", STDOUT, "a", 0),
        Log("d", STDOUT, "b", 1_000_000_000),
        Log("d", STDERR, "c", 1_000_000_000),
        Log("e", STDERR, "d", 1_000_000_000),
    ]
    for event in events:
        recording.feed(event)
    recording.end("completed")
    assert list(history.events(recording.record)) == events
