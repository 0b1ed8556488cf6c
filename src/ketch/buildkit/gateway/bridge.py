"""The gRPC methods of ``moby.buildkit.v1.frontend.LLBBridge``: a client drives its build itself."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from grpclib.const import Cardinality, Handler

from ketch import errors
from ketch.buildkit.calls import guarded, received
from ketch.buildkit.frontend.asked import check_request
from ketch.buildkit.frontend.capabilities import frontend_caps, graph_caps
from ketch.buildkit.frontend.resolving import image_config, source_meta
from ketch.buildkit.gateway.driving import Driver
from ketch.buildkit.gateway.exec_stream import ExecStream
from ketch.buildkit.gateway.results import named
from ketch.buildkit.messages import container, gateway
from ketch.buildkit.messages.go_modes import go_mode
from ketch.buildkit.messages.session import Stat
from ketch.buildkit.worker import worker
from ketch.llb.messages import Definition

if TYPE_CHECKING:
    from grpclib.server import Stream

    from ketch.buildkit.gateway.driving import Driven
    from ketch.buildkit.gateway.holdings import Holdings
    from ketch.buildkit.gateway.states import State
    from ketch.buildkit.jobs import Jobs
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.steps.looking import Seen

_BRIDGE = "/moby.buildkit.v1.frontend.LLBBridge/"
_BUILD_ID = "buildkit-controlapi-buildid"


class Bridge:
    """Front ends for the builds that were opened by ``Control.Solve``: of the one that a call
    names, or always of that of a ``driver``."""

    def __init__(
        self, jobs: Jobs, solver: Driven, builder: Builder, driver: Driver | None = None
    ) -> None:
        self._jobs = jobs
        self._builder = builder
        self._solver = solver
        self._driver = driver

    def methods(self) -> dict[str, Handler]:
        """By path."""
        g, c = gateway, container
        rows: list[tuple[str, Any, type[Any], type[Any]]] = [
            ("Ping", self.ping, g.PingRequest, g.PongResponse),
            ("Solve", self.solve, g.GatewaySolveRequest, g.GatewaySolveResponse),
            ("Return", self.return_, g.ReturnRequest, g.ReturnResponse),
            ("Evaluate", self.evaluate, g.EvaluateRequest, g.EvaluateResponse),
            ("Inputs", self.inputs, g.InputsRequest, g.InputsResponse),
            (
                *("ResolveImageConfig", self.resolve_image),
                *(g.ResolveImageConfigRequest, g.ResolveImageConfigResponse),
            ),
            (
                *("ResolveSourceMeta", self.resolve_source),
                *(g.ResolveSourceMetaRequest, g.ResolveSourceMetaResponse),
            ),
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
        workers = [worker(self._builder)]
        await stream.send_message(
            gateway.PongResponse(
                FrontendAPICaps=frontend_caps(), LLBCaps=graph_caps(), Workers=workers
            )
        )

    async def solve(self, stream: Stream[Any, Any]) -> None:
        """Run a front end for a build that its client drives."""
        request = await received(stream)
        driver = await self._driven(stream)
        if request.Frontend:
            result = await self._solver.frontend(driver.job, request, nested=driver.is_nested)
        else:
            check_request(request)
            graph, evaluate = request.definition or Definition(), request.Evaluate
            result = await self._solver.fetch(driver.job, graph, evaluate=evaluate)
        ref = named(result)
        if result.ref is not None and not request.allowResultArrayRef:
            result = gateway.Result(refDeprecated=ref, metadata=result.metadata)
        await stream.send_message(gateway.GatewaySolveResponse(ref=ref, result=result))

    async def return_(self, stream: Stream[Any, Any]) -> None:
        """The client is done with its build."""
        request = await received(stream)
        driver = await self._driven(stream)
        if driver.returned.done():
            raise errors.Conflict("gateway result is already set")
        driver.returned.set_result(request)
        await stream.send_message(gateway.ReturnResponse())

    async def evaluate(self, stream: Stream[Any, Any]) -> None:
        """Results are there when their solve answers, or they failed."""
        request = await received(stream)
        await (await self._held(stream)).evaluate(request.Ref)
        await stream.send_message(gateway.EvaluateResponse())

    async def inputs(self, stream: Stream[Any, Any]) -> None:
        """What the front end was given."""
        await received(stream)
        inputs = (await self._driven(stream)).inputs
        await stream.send_message(gateway.InputsResponse(Definitions=dict(inputs)))

    async def resolve_image(self, stream: Stream[Any, Any]) -> None:
        """Digest and configuration of an image."""
        request = await received(stream)
        build = await (await self._held(stream)).graphs.build()
        await stream.send_message(await image_config(request, build))

    async def resolve_source(self, stream: Stream[Any, Any]) -> None:
        """The same of a source."""
        request = await received(stream)
        build = await (await self._held(stream)).graphs.build()
        await stream.send_message(await source_meta(request, build))

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
        return await (await self._held(stream)).state(ref)

    async def _driven(self, stream: Stream[Any, Any]) -> Driver:
        if self._driver is not None:
            return self._driver
        job = await self._jobs.get(_build_id(stream))
        return Driver(job, job.request.FrontendInputs, job.returned)

    async def _held(self, stream: Stream[Any, Any]) -> Holdings:
        return self._solver.held((await self._driven(stream)).job)

    async def new_container(self, stream: Stream[Any, Any]) -> None:
        """A container of the client's, over results of its build."""
        request = await received(stream)
        held = await self._held(stream)
        await held.containers.new(request)
        await stream.send_message(container.NewContainerResponse())

    async def release_container(self, stream: Stream[Any, Any]) -> None:
        """The client is done with one."""
        request = await received(stream)
        held = await self._held(stream)
        await held.containers.release(request.ContainerID)
        await stream.send_message(container.ReleaseContainerResponse())

    async def exec_process(self, stream: Stream[Any, Any]) -> None:
        """Programs in those containers, all of one client."""
        await ExecStream(stream, (await self._held(stream)).containers).run()

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
