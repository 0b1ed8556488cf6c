"""The gRPC methods of ``moby.buildkit.v1.Control``."""

from __future__ import annotations

import asyncio
import socket
import time
from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality, Handler

from ketch import errors
from ketch.buildkit.calls import guarded, received
from ketch.buildkit.gateway.bridge import Bridge
from ketch.buildkit.health import Health
from ketch.buildkit.history.served_content import ServedContent
from ketch.buildkit.history.service import HistoryFront
from ketch.buildkit.jobs import Jobs
from ketch.buildkit.messages import control
from ketch.buildkit.session.sessions import Sessions
from ketch.buildkit.solve import BuildkitSolver
from ketch.buildkit.status import StatusWriter
from ketch.buildkit.worker import version, worker
from ketch.buildkit.worker_filter import passes
from ketch.engine.builder.cache.gc import Amounts, matching
from ketch.protobuf import Timestamp

if TYPE_CHECKING:
    from grpclib.server import Stream

    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.cache.records import CacheUsage

_CONTROL = "/moby.buildkit.v1.Control/"
_CHUNK = 1 << 15


class Service:
    """All methods, as ``grpclib`` wants them; with those of the bridge."""

    def __init__(self, builder: Builder, sessions: Sessions) -> None:
        self._builder = builder
        self._sessions = sessions
        self._history = HistoryFront(builder.history)
        self._jobs = Jobs()
        self._solver = BuildkitSolver(builder, sessions, self._jobs)

    def methods(self) -> dict[str, Handler]:
        """By path."""
        unary, streaming, both = (
            Cardinality.UNARY_UNARY,
            Cardinality.UNARY_STREAM,
            Cardinality.STREAM_STREAM,
        )
        c = control
        rows: list[tuple[str, Any, Cardinality, type[Any], type[Any]]] = [
            ("ListWorkers", self.list_workers, unary, c.ListWorkersRequest, c.ListWorkersResponse),
            ("Info", self.info, unary, c.InfoRequest, c.InfoResponse),
            ("Solve", self.solve, unary, c.SolveRequest, c.SolveResponse),
            ("Status", self.status, streaming, c.StatusRequest, c.StatusResponse),
            ("Session", self.session, both, c.BytesMessage, c.BytesMessage),
            ("DiskUsage", self.disk_usage, unary, c.DiskUsageRequest, c.DiskUsageResponse),
            ("Prune", self.prune, streaming, c.PruneRequest, c.UsageRecord),
            (
                *("ListenBuildHistory", self.listen_history, streaming),
                *(c.BuildHistoryRequest, c.BuildHistoryEvent),
            ),
            (
                *("UpdateBuildHistory", self.update_history, unary),
                *(c.UpdateBuildHistoryRequest, c.UpdateBuildHistoryResponse),
            ),
        ]
        found = {
            _CONTROL + name: Handler(guarded(call, coded=name != "Solve"), kind, request, reply)
            for name, call, kind, request, reply in rows
        }
        content = ServedContent(self._history).methods()
        bridge = Bridge(self._jobs, self._solver, self._builder).methods()
        methods = {**found, **content, **bridge}
        return {**methods, **Health(methods).methods()}

    async def list_workers(self, stream: Stream[Any, Any]) -> None:
        """One worker: this engine."""
        request = await received(stream)
        found = worker(self._builder)
        records = [found] if passes(request.filter, found) else []
        await stream.send_message(control.ListWorkersResponse(record=records))

    async def info(self, stream: Stream[Any, Any]) -> None:
        """The version."""
        await stream.recv_message()
        await stream.send_message(control.InfoResponse(buildkitVersion=version()))

    async def solve(self, stream: Stream[Any, Any]) -> None:
        """Answers when the build is over and exported."""
        request = await received(stream)
        await stream.send_message(await self._solver.solve(request))

    async def status(self, stream: Stream[Any, Any]) -> None:
        """Everything that a build says, from its beginning to its end."""
        request = await received(stream)
        writer = StatusWriter()
        told = None if self._jobs.has(request.Ref) else self._history.events(request.Ref)
        if told is not None:
            for response in writer.responses(told):
                await stream.send_message(response)
            return
        job = await self._jobs.get(request.Ref)
        async for events in job.events():
            for response in writer.responses(events):
                await stream.send_message(response)

    async def session(self, stream: Stream[Any, Any]) -> None:
        """A session whose connection is carried in messages; raises ``InvalidParameter`` when its
        headers describe none."""
        ours, theirs = socket.socketpair()
        headers = [(name, str(value)) for name, value in (stream.metadata or {}).items()]
        serving = asyncio.create_task(self._sessions.serve(theirs, headers))
        reader, writer = await asyncio.open_connection(sock=ours)
        carrying = [
            asyncio.create_task(_carry(reader, stream)),
            asyncio.create_task(_taken(stream, writer)),
        ]
        try:
            await asyncio.wait({carrying[1], serving}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            writer.close()
            for task in carrying:
                task.cancel()
            ended = await asyncio.gather(serving, *carrying, return_exceptions=True)
        if isinstance(ended[0], errors.KetchError):
            raise ended[0]

    async def listen_history(self, stream: Stream[Any, Any]) -> None:
        """The builds there were."""
        async for event in self._history.listen(await received(stream)):
            await stream.send_message(event)

    async def update_history(self, stream: Stream[Any, Any]) -> None:
        """Delete a record."""
        self._history.update(await received(stream))
        await stream.send_message(control.UpdateBuildHistoryResponse())

    async def disk_usage(self, stream: Stream[Any, Any]) -> None:
        """The build cache."""
        request = await received(stream)
        found = matching(await self._builder.cache.usage(), {}, request.filter)
        records = [_usage_record(usage) for usage in found]
        await stream.send_message(control.DiskUsageResponse(record=records))

    async def prune(self, stream: Stream[Any, Any]) -> None:
        """Forget the cache."""
        request = await received(stream)
        until = str(time.time_ns() - request.keepDuration)
        amounts = Amounts(
            reserved=request.reservedSpace,
            max_used=request.maxUsedSpace,
            min_free=request.minFreeSpace,
        )
        filters: dict[str, tuple[str, ...]] = {"until": (until,)} if request.keepDuration else {}
        report = await self._builder.cache.prune(
            filters, amounts, expressions=request.filter, all=request.all
        )
        for usage in report.records:
            await stream.send_message(_usage_record(usage))


async def _carry(reader: asyncio.StreamReader, stream: Stream[Any, Any]) -> None:
    while data := await reader.read(_CHUNK):
        await stream.send_message(control.BytesMessage(data=data))


async def _taken(stream: Stream[Any, Any], writer: asyncio.StreamWriter) -> None:
    async for message in stream:
        writer.write(message.data)
        await writer.drain()


def _usage_record(usage: CacheUsage) -> control.UsageRecord:
    return control.UsageRecord(
        ID=usage.id,
        Mutable=usage.is_mount,
        InUse=usage.in_use,
        Size=usage.size,
        CreatedAt=Timestamp.of(usage.made_at),
        LastUsedAt=Timestamp.of(usage.used_at),
        UsageCount=usage.uses,
        Description=usage.description,
        RecordType=usage.type,
        Shared=usage.shared,
        Parents=[usage.parent] if usage.parent else [],
    )
