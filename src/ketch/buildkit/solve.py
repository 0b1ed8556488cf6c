"""``Control.Solve`` and the ``LLBBridge`` calls that drive a build."""

from __future__ import annotations

import asyncio
from collections.abc import Mapping
from typing import TYPE_CHECKING

from ketch.build.failures import StepFailed
from ketch.build.request.options import ImageInput
from ketch.build.request.refusals import OtherFrontend
from ketch.build.solver import outcome_of
from ketch.buildkit.frontend.asked import GATEWAY, Asked, asked_of, check_request, has_graph
from ketch.buildkit.frontend.attributes import build_options
from ketch.buildkit.frontend.images import ImageFrontends
from ketch.buildkit.frontend.input_source import with_input_files
from ketch.buildkit.frontend.inputs import with_inputs
from ketch.buildkit.frontend.solve_options import exports_of, with_caches
from ketch.buildkit.gateway.failed_runs import details
from ketch.buildkit.gateway.holdings import Holdings, Target
from ketch.buildkit.graphs.files import outcome_digest
from ketch.buildkit.graphs.job import JobGraphs
from ketch.buildkit.graphs.result_graphs import failed_definition
from ketch.buildkit.graphs.results import config_of, references
from ketch.buildkit.jobs import Job, Jobs
from ketch.buildkit.located import Located, Returned
from ketch.buildkit.messages.control import SolveRequest, SolveResponse
from ketch.buildkit.messages.gateway import Ref, Result
from ketch.buildkit.session.build_sources import build_source
from ketch.buildkit.telling import told
from ketch.engine.builder.graph.image import image_result
from ketch.errors import Cancelled, InvalidParameter, KetchError

if TYPE_CHECKING:
    from ketch.build.request.options import BuildOptions
    from ketch.build.solver import Built
    from ketch.build.steps.state import StageState
    from ketch.buildkit.messages.gateway import GatewaySolveRequest
    from ketch.buildkit.session.sessions import Sessions
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.contexts.source import Source
    from ketch.engine.builder.graph.build import GraphBuild
    from ketch.engine.builder.outcome.result import Result as Outcome
    from ketch.engine.builder.running import RunningBuild
    from ketch.llb.messages import Definition


class BuildkitSolver:
    """Runs builds for clients; one build of a job may be exported."""

    def __init__(self, builder: Builder, sessions: Sessions, jobs: Jobs) -> None:
        self._builder = builder
        self._sessions = sessions
        self._jobs = jobs
        self._images = ImageFrontends(self, builder, jobs)
        self._held: dict[Job, Holdings] = {}

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """Run to the end; raises what ended it."""
        job = await self._jobs.open(request)  # at once, since Control.Status waits for it
        self._held[job] = Holdings(JobGraphs(self._builder, self._sessions, job))
        try:
            check_request(request)
            if has_graph(request):
                assert request.definition is not None
                return await self._exported(job, await self.fetch(job, request.definition))
            if not request.Frontend:
                return await self._driven(job)
            result = await self._result(job, asked_of(request))
            return await self._exported(job, result)
        except Exception as error:
            await self._failed(job, error)
            raise
        finally:
            await asyncio.shield(self._close(job))

    async def _driven(self, job: Job) -> SolveResponse:
        """The client calls front ends itself and says in the end what to export."""
        returned = await job.returned
        if returned.error is not None and returned.error.code:
            raise Returned(returned.error)
        return await self._exported(job, returned.result or Result())

    async def _exported(self, job: Job, result: Result) -> SolveResponse:
        """What is to become of a result; the end of the build."""
        held = self.held(job)
        refs = references(result)
        if not refs:
            if held.graphs.opened is not None:
                held.graphs.opened.done()
            return SolveResponse()
        target = held.untouched(refs, result)
        if target is not None:
            target.wanted.set_result(True)
            return _response(await target.task)
        build = await held.graphs.build()
        making = [self._outcome(job, build, result, *one) for one in refs.items()]
        outcomes = await asyncio.gather(*making)
        return _response(await build.export(outcomes, held.graphs.frontend))

    async def _outcome(
        self, job: Job, build: GraphBuild, result: Result, platform: str, ref: str
    ) -> Outcome:
        layers = await (await self.held(job).state(ref)).layers()
        made = build.solver.trees.made
        return image_result(config_of(result, platform), layers, made, platform)

    async def _failed(self, job: Job, error: Exception) -> None:
        """The history is told, if there were graphs."""
        build = self.held(job).graphs.opened
        if build is not None:
            build.failed(error.error if isinstance(error, Located) else error)

    # front ends

    async def frontend(self, job: Job, request: GatewaySolveRequest, *, nested: bool) -> Result:
        """A front end for a client that drives the build, or (``nested``) for another front end."""
        return await self._result(
            job, asked_of(request), arrays=request.allowResultArrayRef, nested=nested
        )

    async def _result(
        self, job: Job, asked: Asked, *, arrays: bool = True, nested: bool = False
    ) -> Result:
        """What a front end comes to: of Dockerfile's own when its steps are done, also when one
        has failed if the client did not ask for an evaluation."""
        if asked.image:
            return await self._image_frontend(job, asked)
        try:
            if asked.attrs.get("requestid"):
                return Result(metadata=await self._answer(job, asked))
            target = await self._dockerfile(job, asked, nested=nested)
        except (OtherFrontend, Located) as error:
            other = error.error if isinstance(error, Located) else error
            if not isinstance(other, OtherFrontend):
                raise
            self.held(job).graphs.is_recorded = True  # instead of what had begun
            return await self._image_frontend(job, _forwarded(asked, other))
        return target.result(arrays=arrays)

    async def _image_frontend(self, job: Job, asked: Asked) -> Result:
        self.held(job).graphs.frontend = GATEWAY
        return await self._images.run(job, asked)

    async def _dockerfile(self, job: Job, asked: Asked, *, nested: bool) -> Target:
        target = await self._start(job, asked, nested=nested)
        over = asyncio.create_task(target.over.wait())
        try:
            await asyncio.wait({over, target.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if not target.over.is_set():
            await target.task
        if target.failure is not None and asked.evaluate:
            raise target.failure
        return target

    def held(self, job: Job) -> Holdings:
        """What a job has come to; raises ``InvalidParameter`` when it is over."""
        if job not in self._held:
            raise InvalidParameter("the build is over")
        return self._held[job]

    async def fetch(self, job: Job, definition: Definition, *, evaluate: bool = False) -> Result:
        """What a client's own graph comes to."""
        held = self.held(job)
        name = await held.found(definition)
        if evaluate:
            await held.evaluate(name)
        return Result(ref=Ref(id=name, definition=definition))

    async def _start(self, job: Job, asked: Asked, *, nested: bool) -> Target:
        held = self.held(job)
        options = build_options(
            asked.attrs, exports=exports_of(job.request), allow=job.request.Entitlements
        )
        options = with_caches(options, job.request, asked.imports, asked.attrs)
        ref: str | None = "" if job.request.Internal else job.request.Ref
        if nested or held.graphs.opened is not None:
            ref = None  # a part of the job's build
        else:
            held.graphs.is_recorded = False
        options = await with_inputs(options, asked.inputs, held)
        source = await self._source(job, asked)
        target = Target()
        held.targets[target.id] = target
        target.task = asyncio.create_task(self._run(job, target, options, source, ref))
        return target

    async def _answer(self, job: Job, asked: Asked) -> dict[str, bytes]:
        """A question about the Dockerfile (``requestid``): the metadata of a result without a
        reference."""
        options = await with_inputs(build_options(asked.attrs), asked.inputs, self.held(job))
        session = await self._sessions.get(job.request.Session)
        source = await self._source(job, asked)
        async with told(job) as channel:
            request = asked.attrs["requestid"]
            answer = await self._builder.ask(request, source, options, session, channel=channel)
            return answer.metadata()

    async def _source(self, job: Job, asked: Asked) -> Source:
        session = await self._sessions.get(job.request.Session)
        contexts = self._builder.contexts
        own = build_source(self._sessions, session, contexts, asked.attrs)
        return await with_input_files(own, asked, self.held(job))

    async def _run(
        self, job: Job, target: Target, options: BuildOptions, source: Source, ref: str | None
    ) -> Built:
        session = await self._sessions.get(job.request.Session)
        async with told(job) as channel:
            running = self._builder.running(
                source, options, session, target.wanted, ref, channel=channel
            )
            async with running as build:
                return await _followed(target, build, self.held(job))

    async def _close(self, job: Job) -> None:
        await self._held.pop(job).close()
        await self._jobs.close(job)


async def _followed(target: Target, build: RunningBuild, held: Holdings) -> Built:
    """Its outcome; a failure knows its place in the Dockerfile, and stays until the client that
    drives the build is done."""
    try:
        states = await build.solved()
        images = {str(state.image.platform): _image(state) for state in states}
        held.solved(target, images, build.containers)
        return await build.built()
    except KetchError as error:
        if build.failed_at is None or isinstance(error, Cancelled):
            raise
        located = Located.of(error, build.failed_at)
        if isinstance(error, StepFailed) and error.run is not None:
            result = outcome_digest(failed_definition(target.id))
            located.details += details(error, held.states, build.containers, result)
            await target.failed(located)
        raise located from error
    finally:
        await build.cancel()


def _forwarded(asked: Asked, other: OtherFrontend) -> Asked:
    """The same, of the front end that a Dockerfile names in its first line."""
    attrs: Mapping[str, str] = {
        **asked.attrs,
        "source": other.image,
        "cmdline": other.syntax,
    }
    return Asked(attrs, asked.inputs, asked.imports, other.image, asked.evaluate)


def _image(state: StageState) -> ImageInput:
    return ImageInput(outcome_of(state)[0], tuple(state.layers))


def _response(built: Built) -> SolveResponse:
    """What ``--metadata-file`` and ``--iidfile`` are made of."""
    return SolveResponse(ExporterResponse=built.response)
