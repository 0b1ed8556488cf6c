"""The gRPC methods of ``moby.buildkit.v1.frontend.LLBBridge``: a client drives its build itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality, Handler

from ketch import errors
from ketch.buildkit import container_messages as container
from ketch.buildkit import gateway_messages as gateway
from ketch.buildkit.asked import has_graph
from ketch.buildkit.calls import guarded, received
from ketch.buildkit.exec_stream import ExecStream
from ketch.buildkit.go_modes import go_mode
from ketch.buildkit.session_messages import Stat
from ketch.buildkit.worker import worker

if TYPE_CHECKING:
    from grpclib.server import Stream

    from ketch.buildkit.jobs import Jobs
    from ketch.buildkit.solve import BuildkitSolver
    from ketch.buildkit.states import State
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.steps.looking import Seen

_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
_BUILD_ID = "buildkit-controlapi-buildid"
_FRONTEND_CAPS = (
    *("solve.base", "return", "returnmap", "proto.refarray", "gateway.solve.metadata"),
    *("gateway.solve.evaluate", "gateway.evaluate.solve", "frontend.caps", "gateway.warnings"),
    *("gateway.evaluate", "reference.output", "frontend.inputs"),
    *("readfile", "statfile", "readdir", "gateway.exec", "gateway.exec.extrahosts"),
    *("gateway.exec.secretenv", "gateway.exec.signals"),
)
_LLB_CAPS = [
    gateway.Cap(ID=name, Enabled=True)
    for name in (
        *("exporter.image.attestations", "exporter.image.annotations", "exporter.multiple"),
        *("source.git", "source.git.fullurl", "source.git.httpauth", "source.git.knownsshhosts"),
        *("source.git.keepgitdir", "source.git.mountsshsock", "source.http", "file.base"),
        *("platform", "constraints", "meta.description"),  # what bake's own graphs need
        "gc.freespacefilter",  # amounts of buildx prune
    )
]


class Bridge:
    """Front ends for the builds that were opened by ``Control.Solve``."""

    def __init__(self, jobs: Jobs, solver: BuildkitSolver, builder: Builder) -> None:
        self._jobs = jobs
        self._builder = builder
        self._solver = solver

    def methods(self) -> dict[str, Handler]:
        """By path."""
        g, c = gateway, container
        rows: list[tuple[str, Any, type[Any], type[Any]]] = [
            ("Ping", self.ping, g.PingRequest, g.PongResponse),
            ("Solve", self.solve, g.GatewaySolveRequest, g.GatewaySolveResponse),
            ("Return", self.return_, g.ReturnRequest, g.ReturnResponse),
            ("Evaluate", self.evaluate, g.EvaluateRequest, g.EvaluateResponse),
            ("Inputs", self.inputs, g.InputsRequest, g.InputsResponse),
            ("Warn", self.warn, g.WarnRequest, g.WarnResponse),
            ("ReadFile", self.read_file, g.ReadFileRequest, g.ReadFileResponse),
            ("StatFile", self.stat_file, g.StatFileRequest, g.StatFileResponse),
            ("ReadDir", self.read_dir, g.ReadDirRequest, g.ReadDirResponse),
            ("NewContainer", self.new_container, c.NewContainerRequest, c.NewContainerResponse),
            (
                *("ReleaseContainer", self.release_container),
                *(c.ReleaseContainerRequest, c.ReleaseContainerResponse),
            ),
        ]
        executing = Handler(
            guarded(self.exec_process), Cardinality.STREAM_STREAM, c.ExecMessage, c.ExecMessage
        )
        unary = {
            _BRIDGE + name: Handler(
                guarded(call, coded=name != "Solve"), Cardinality.UNARY_UNARY, request, reply
            )
            for name, call, request, reply in rows
        }
        return {**unary, _BRIDGE + "ExecProcess": executing}

    async def ping(self, stream: Stream[Any, Any]) -> None:
        """What a client may use."""
        await stream.recv_message()
        caps = [gateway.Cap(ID=name, Enabled=True) for name in _FRONTEND_CAPS]
        workers = [worker(self._builder)]
        await stream.send_message(
            gateway.PongResponse(FrontendAPICaps=caps, LLBCaps=_LLB_CAPS, Workers=workers)
        )

    async def solve(self, stream: Stream[Any, Any]) -> None:
        """Run a front end for a build that its client drives."""
        request = await received(stream)
        job = await self._jobs.get(_build_id(stream))
        if request.FrontendOpt.get("requestid"):
            answer = await self._solver.answer(job, request)
            await stream.send_message(
                gateway.GatewaySolveResponse(result=gateway.Result(metadata=answer))
            )
            return
        if has_graph(request):
            name = await self._solver.fetch(job, request)
            result = gateway.Result(ref=gateway.Ref(id=name, definition=request.definition))
            await stream.send_message(gateway.GatewaySolveResponse(ref=name, result=result))
            return
        target = await self._solver.run_frontend(job, request)
        result = target.result(arrays=request.allowResultArrayRef)
        await stream.send_message(gateway.GatewaySolveResponse(ref=target.id, result=result))

    async def return_(self, stream: Stream[Any, Any]) -> None:
        """The client is done with its build."""
        request = await received(stream)
        job = await self._jobs.get(_build_id(stream))
        if not job.returned.done():
            job.returned.set_result(request)
        await stream.send_message(gateway.ReturnResponse())

    async def evaluate(self, stream: Stream[Any, Any]) -> None:
        """Results are there when their solve answers, or they failed."""
        request = await received(stream)
        job = await self._jobs.get(_build_id(stream))
        self._solver.held(job).evaluate(request.Ref)
        await stream.send_message(gateway.EvaluateResponse())

    async def inputs(self, stream: Stream[Any, Any]) -> None:
        """Front ends have no inputs here."""
        await received(stream)
        await stream.send_message(gateway.InputsResponse())

    async def read_file(self, stream: Stream[Any, Any]) -> None:
        """Some of a file of a result, or all of it."""
        request = await received(stream)
        state = await self._state(stream, request.Ref)
        part = request.Range or gateway.FileRange(Length=-1)
        seen = await state.look(request.FilePath, part.Offset, part.Length or -1)
        await stream.send_message(gateway.ReadFileResponse(Data=seen.data))

    async def stat_file(self, stream: Stream[Any, Any]) -> None:
        """The facts of a file of a result."""
        request = await received(stream)
        seen = await (await self._state(stream, request.Ref)).look(request.Path)
        await stream.send_message(gateway.StatFileResponse(stat=_stat(seen)))

    async def read_dir(self, stream: Stream[Any, Any]) -> None:
        """The facts of what is in a directory of a result."""
        request = await received(stream)
        state = await self._state(stream, request.Ref)
        entries = await state.entries(request.DirPath, request.IncludePattern)
        await stream.send_message(gateway.ReadDirResponse(entries=[_stat(one) for one in entries]))

    async def _state(self, stream: Stream[Any, Any], ref: str) -> State:
        job = await self._jobs.get(_build_id(stream))
        return self._solver.held(job).state(ref)

    async def new_container(self, stream: Stream[Any, Any]) -> None:
        """A container of the client's, over results of its build."""
        request = await received(stream)
        job = await self._jobs.get(_build_id(stream))
        await self._solver.held(job).containers.new(request)
        await stream.send_message(container.NewContainerResponse())

    async def release_container(self, stream: Stream[Any, Any]) -> None:
        """The client is done with one."""
        request = await received(stream)
        job = await self._jobs.get(_build_id(stream))
        await self._solver.held(job).containers.release(request.ContainerID)
        await stream.send_message(container.ReleaseContainerResponse())

    async def exec_process(self, stream: Stream[Any, Any]) -> None:
        """Programs in those containers, all of one client."""
        job = await self._jobs.get(_build_id(stream))
        await ExecStream(stream, self._solver.held(job).containers).run()

    async def warn(self, stream: Stream[Any, Any]) -> None:
        """A client's own warnings are shown by it."""
        await received(stream)
        await stream.send_message(gateway.WarnResponse())


def _stat(seen: Seen) -> Stat:
    return Stat(
        path=seen.name,
        mode=go_mode(seen.mode),
        uid=seen.uid,
        gid=seen.gid,
        size=seen.size,
        modTime=seen.modified,
        linkname=seen.link,
    )


def _build_id(stream: Stream[Any, Any]) -> str:
    value = stream.metadata.get(_BUILD_ID, "") if stream.metadata else ""
    if not value:
        raise errors.InvalidParameter(f"the call needs the metadata {_BUILD_ID}")
    return str(value)
