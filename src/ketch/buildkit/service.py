"""The gRPC methods: ``moby.buildkit.v1.Control`` and ``moby.buildkit.v1.frontend.LLBBridge``."""

from __future__ import annotations

import asyncio
import socket
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality, Handler, Status
from grpclib.exceptions import GRPCError

from ketch import __version__, errors
from ketch.buildkit import control_messages as control
from ketch.buildkit import gateway_messages as gateway
from ketch.buildkit.history import HistoryFront
from ketch.buildkit.jobs import Jobs
from ketch.buildkit.located import Located, details
from ketch.buildkit.sessions import Sessions
from ketch.buildkit.solve import BuildkitSolver, reason, result_of
from ketch.buildkit.status import StatusWriter
from ketch.engine.builder_gc import Amounts, matching
from ketch.oci import platform as platforms
from ketch.protobuf import Timestamp

if TYPE_CHECKING:
    from grpclib.server import Stream

    from ketch.engine.builder import Builder
    from ketch.engine.builder_cache import CacheUsage

_CONTROL = "/moby.buildkit.v1.Control/"
_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
_BUILD_ID = "buildkit-controlapi-buildid"
_FRONTEND_CAPS = (
    *("solve.base", "return", "returnmap", "proto.refarray", "gateway.solve.metadata"),
    *("gateway.solve.evaluate", "gateway.evaluate.solve", "frontend.caps", "gateway.warnings"),
)
_LLB_CAPS = [gateway.Cap(ID="exporter.image.attestations", Enabled=True)]
_STATUS = (
    (errors.NotFound, Status.NOT_FOUND),
    (errors.InvalidParameter, Status.INVALID_ARGUMENT),
    (errors.Conflict, Status.ALREADY_EXISTS),
    (errors.Unsupported, Status.UNIMPLEMENTED),
    (errors.Unavailable, Status.UNAVAILABLE),
    (errors.Cancelled, Status.CANCELLED),
)
_PATIENCE = 30.0  # seconds for a job to appear
_CHUNK = 1 << 15


class Service:
    """All methods, as ``grpclib`` wants them."""

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
        c, g = control, gateway
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
        bridge: list[tuple[str, Any, type[Any], type[Any]]] = [
            ("Ping", self.ping, g.PingRequest, g.PongResponse),
            ("Solve", self.bridge_solve, g.GatewaySolveRequest, g.GatewaySolveResponse),
            ("Return", self.bridge_return, g.ReturnRequest, g.ReturnResponse),
            ("Evaluate", self.evaluate, g.EvaluateRequest, g.EvaluateResponse),
            ("Inputs", self.inputs, g.InputsRequest, g.InputsResponse),
            ("Warn", self.warn, g.WarnRequest, g.WarnResponse),
        ]
        found = {
            _CONTROL + name: Handler(_guarded(call), kind, request, reply)
            for name, call, kind, request, reply in rows
        }
        for name, call, request, reply in bridge:
            found[_BRIDGE + name] = Handler(_guarded(call), unary, request, reply)
        return found

    # Control

    async def list_workers(self, stream: Stream[Any, Any]) -> None:
        """One worker: this engine."""
        await stream.recv_message()
        await stream.send_message(control.ListWorkersResponse(record=[_worker()]))

    async def info(self, stream: Stream[Any, Any]) -> None:
        """The version."""
        await stream.recv_message()
        await stream.send_message(control.InfoResponse(buildkitVersion=_version()))

    async def solve(self, stream: Stream[Any, Any]) -> None:
        """Answers when the build is over and exported."""
        request = await _received(stream)
        await stream.send_message(await self._solver.solve(request))

    async def status(self, stream: Stream[Any, Any]) -> None:
        """Everything that a build says, from its beginning to its end."""
        request = await _received(stream)
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
        async for event in self._history.listen(await _received(stream)):
            await stream.send_message(event)

    async def update_history(self, stream: Stream[Any, Any]) -> None:
        """Delete a record."""
        self._history.update(await _received(stream))
        await stream.send_message(control.UpdateBuildHistoryResponse())

    async def disk_usage(self, stream: Stream[Any, Any]) -> None:
        """The build cache."""
        request = await _received(stream)
        found = matching(await self._builder.cache.usage(), {}, request.filter)
        records = [_usage_record(usage) for usage in found]
        await stream.send_message(control.DiskUsageResponse(record=records))

    async def prune(self, stream: Stream[Any, Any]) -> None:
        """Forget the cache."""
        request = await _received(stream)
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
        for number, key in enumerate(report.deleted):
            size = 0 if number else report.reclaimed
            await stream.send_message(control.UsageRecord(ID=key, Size=size))

    # LLBBridge

    async def ping(self, stream: Stream[Any, Any]) -> None:
        """What a client may use."""
        await stream.recv_message()
        caps = [gateway.Cap(ID=name, Enabled=True) for name in _FRONTEND_CAPS]
        await stream.send_message(
            gateway.PongResponse(FrontendAPICaps=caps, LLBCaps=_LLB_CAPS, Workers=[_worker()])
        )

    async def bridge_solve(self, stream: Stream[Any, Any]) -> None:
        """Run a front end for a build that its client drives."""
        request = await _received(stream)
        job = await self._jobs.get(_build_id(stream))
        if request.FrontendOpt.get("requestid"):
            answer = await self._solver.answer(job, request.Frontend, request.FrontendOpt)
            await stream.send_message(
                gateway.GatewaySolveResponse(result=gateway.Result(metadata=answer))
            )
            return
        target = await self._solver.run_frontend(job, request)
        result = result_of(target, arrays=request.allowResultArrayRef)
        await stream.send_message(gateway.GatewaySolveResponse(ref=target.id, result=result))

    async def bridge_return(self, stream: Stream[Any, Any]) -> None:
        """The client is done with its build."""
        request = await _received(stream)
        job = await self._jobs.get(_build_id(stream))
        if not job.returned.done():
            job.returned.set_result(request)
        await stream.send_message(gateway.ReturnResponse())

    async def evaluate(self, stream: Stream[Any, Any]) -> None:
        """Results are there when their solve answers."""
        await _received(stream)
        await stream.send_message(gateway.EvaluateResponse())

    async def inputs(self, stream: Stream[Any, Any]) -> None:
        """Front ends have no inputs here."""
        await _received(stream)
        await stream.send_message(gateway.InputsResponse())

    async def warn(self, stream: Stream[Any, Any]) -> None:
        """A client's own warnings are shown by it."""
        await _received(stream)
        await stream.send_message(gateway.WarnResponse())


def _guarded(
    call: Callable[[Any], Awaitable[None]],
) -> Callable[[Any], Awaitable[None]]:
    """Errors as gRPC statuses."""

    async def guarded(stream: Stream[Any, Any]) -> None:
        async with _translated():
            await call(stream)

    return guarded


@asynccontextmanager
async def _translated() -> AsyncIterator[None]:
    try:
        yield
    except errors.KetchError as error:
        inner = error.error if isinstance(error, Located) else error
        found = next((code for kind, code in _STATUS if isinstance(inner, kind)), Status.UNKNOWN)
        told = details(error.place) if isinstance(error, Located) else None
        raise GRPCError(found, reason(inner), told) from None


async def _received(stream: Stream[Any, Any]) -> Any:
    request = await stream.recv_message()
    if request is None:
        raise errors.InvalidParameter("the call came without a message")
    return request


def _build_id(stream: Stream[Any, Any]) -> str:
    value = stream.metadata.get(_BUILD_ID, "") if stream.metadata else ""
    if not value:
        raise errors.InvalidParameter(f"the call needs the metadata {_BUILD_ID}")
    return str(value)


async def _carry(reader: asyncio.StreamReader, stream: Stream[Any, Any]) -> None:
    while data := await reader.read(_CHUNK):
        await stream.send_message(control.BytesMessage(data=data))


async def _taken(stream: Stream[Any, Any], writer: asyncio.StreamWriter) -> None:
    async for message in stream:
        writer.write(message.data)
        await writer.drain()


def _usage_record(usage: CacheUsage) -> control.UsageRecord:
    return control.UsageRecord(
        ID=usage.key,
        Mutable=usage.is_mount,
        InUse=usage.in_use,
        Size=usage.size,
        CreatedAt=Timestamp.of(usage.made_at),
        LastUsedAt=Timestamp.of(usage.used_at),
        UsageCount=usage.uses,
        Description=usage.description,
        RecordType=usage.type,
        Shared=usage.shared,
    )


def _version() -> control.BuildkitVersion:
    return control.BuildkitVersion(package="ketch", version=f"v{__version__}")


def _worker() -> control.WorkerRecord:
    host = platforms.host()
    return control.WorkerRecord(
        ID="ketch",
        Labels={
            "org.mobyproject.buildkit.worker.executor": "ketch",
            # by this one buildx's docker driver knows that all kinds of outputs work
            "org.mobyproject.buildkit.worker.snapshotter": "ketch",
        },
        platforms=[
            control.Platform(Architecture=host.architecture, OS=host.os, Variant=host.variant)
        ],
        version=_version(),
    )
