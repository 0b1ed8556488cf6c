"""``Control.Solve`` and the ``LLBBridge`` calls that drive a build."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Mapping, Sequence
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

import msgspec

from ketch.build.dockerfile.source import DockerfileError
from ketch.build.failures import Place, StepFailed
from ketch.build.request.cache_options import parse_cache_export, parse_cache_import
from ketch.build.request.exports import CACHE_ONLY, Export, parse_exports
from ketch.build.request.options import ImageInput
from ketch.build.solver import outcome_of
from ketch.build.steps.copy import is_remote
from ketch.buildkit.asked import asked_of, check_request
from ketch.buildkit.control_messages import Attributes, SolveRequest, SolveResponse
from ketch.buildkit.failed_runs import details
from ketch.buildkit.frontend import build_options
from ketch.buildkit.holdings import Holdings, Target
from ketch.buildkit.inputs import failed_definition, outcome_digest, with_inputs
from ketch.buildkit.jobs import Job, Jobs
from ketch.buildkit.located import Located, Returned
from ketch.buildkit.results import named
from ketch.buildkit.source import Locals, SessionSource
from ketch.buildkit.upload import is_upload, uploaded
from ketch.engine.builder.channel import Channel
from ketch.engine.builder.contexts.download import Download
from ketch.engine.builder.contexts.remote import OwnDockerfile, WithDirectories, remote_source
from ketch.engine.builder.contexts.source import REMOTE_CONTEXT, TarSource
from ketch.errors import Cancelled, InvalidParameter, KetchError

if TYPE_CHECKING:
    from ketch.build.request.options import BuildOptions
    from ketch.build.solver import Built
    from ketch.build.steps.state import StageState
    from ketch.buildkit.gateway_messages import GatewaySolveRequest
    from ketch.buildkit.sessions import Session, Sessions
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.contexts.earlier import KeptContexts
    from ketch.engine.builder.contexts.source import Source
    from ketch.engine.builder.running import RunningBuild


class BuildkitSolver:
    """Runs builds for clients; one build of a job may be exported."""

    def __init__(self, builder: Builder, sessions: Sessions, jobs: Jobs) -> None:
        self._builder = builder
        self._sessions = sessions
        self._jobs = jobs
        self._held: dict[Job, Holdings] = {}

    async def solve(self, request: SolveRequest) -> SolveResponse:
        """Run to the end; raises what ended it."""
        job = await self._jobs.open(request)  # at once, since Control.Status waits for it
        self._held[job] = Holdings(self._builder)
        try:
            check_request(request)
            if not request.Frontend:
                return await self._driven(job)
            target = self._start(job, request)
            target.wanted.set_result(True)
            return _response(await target.task)
        finally:
            await asyncio.shield(self._close(job))

    async def _driven(self, job: Job) -> SolveResponse:
        """The client calls front ends itself and says in the end what to export."""
        returned = await job.returned
        if returned.error is not None and returned.error.code:
            raise Returned(returned.error)
        result = returned.result
        ref = "" if result is None else named(result)
        if not ref:
            return SolveResponse()
        target = self.held(job).target(ref)
        target.wanted.set_result(True)
        return _response(await target.task)

    async def run_frontend(self, job: Job, request: GatewaySolveRequest) -> Target:
        """A front end for a client that drives the build; returns when its steps are done, also
        when one has failed if the client did not ask for an evaluation."""
        target = self._start(job, request)
        over = asyncio.create_task(target.over.wait())
        try:
            await asyncio.wait({over, target.task}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            over.cancel()
        if not target.over.is_set():
            await target.task
        if target.failure is not None and request.Evaluate:
            raise target.failure
        return target

    def held(self, job: Job) -> Holdings:
        """What a job has come to; raises ``InvalidParameter`` when it is over."""
        if job not in self._held:
            raise InvalidParameter("the build is over")
        return self._held[job]

    async def fetch(self, job: Job, request: GatewaySolveRequest) -> str:
        """The name of what a client's own graph comes to (see ``graphs``)."""
        check_request(request)
        assert request.definition is not None
        session = await self._sessions.get(job.request.Session)
        held, allow = self.held(job), job.request.Entitlements
        async with _told(job) as channel:
            return await held.found(request.definition, session, channel, allow)

    def _start(self, job: Job, request: SolveRequest | GatewaySolveRequest) -> Target:
        asked = asked_of(request)
        options = build_options(
            asked.attrs, exports=_exports(job.request), allow=job.request.Entitlements
        )
        options = _with_caches(options, job.request, asked.imports, asked.attrs)
        options = with_inputs(options, asked.inputs)
        target = Target()
        self.held(job).targets[target.id] = target
        target.task = asyncio.create_task(self._run(job, target, options, asked.attrs))
        return target

    async def answer(self, job: Job, request: GatewaySolveRequest) -> dict[str, bytes]:
        """A question about the Dockerfile (``requestid``): the metadata of a result without a
        reference."""
        asked = asked_of(request)
        attrs = asked.attrs
        options = with_inputs(build_options(attrs), asked.inputs)
        session = await self._sessions.get(job.request.Session)
        source = _source(session, self._locals(session, attrs), self._builder.contexts, attrs)
        async with _told(job) as channel:
            answer = await self._builder.ask(
                attrs["requestid"], source, options, session, channel=channel
            )
            return answer.metadata()

    async def _run(
        self, job: Job, target: Target, options: BuildOptions, attrs: Mapping[str, str]
    ) -> Built:
        session = await self._sessions.get(job.request.Session)
        source = _source(session, self._locals(session, attrs), self._builder.contexts, attrs)
        ref = "" if job.request.Internal else job.request.Ref
        async with _told(job) as channel:
            running = self._builder.running(
                source, options, session, target.wanted, ref, channel=channel
            )
            async with running as build:
                return await _followed(target, build, self.held(job))

    def _locals(self, session: Session, attrs: Mapping[str, str]) -> Locals:
        prefix = "local-sessionid:"
        ids = {k.removeprefix(prefix): v for k, v in attrs.items() if k.startswith(prefix)}
        return Locals(self._sessions, session, ids)

    async def _close(self, job: Job) -> None:
        await self._held.pop(job).close()
        await self._jobs.close(job)


@asynccontextmanager
async def _told(job: Job) -> AsyncIterator[Channel]:
    """A channel whose events go to the job; a failure knows its place in the Dockerfile."""
    channel = Channel()
    telling = asyncio.create_task(_tell(job, channel))
    try:
        yield channel
    except DockerfileError as error:
        raise Located.of(error, Place(error.source, error.where)) from error
    finally:
        channel.close()
        await telling


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


def _source(
    session: Session, directories: Locals, contexts: KeptContexts, attrs: Mapping[str, str]
) -> Source:
    """The client's directories, or a context that it uploads or that is fetched from a URL, with
    its Dockerfile or one of the client's."""
    own = SessionSource(
        directories,
        contexts,
        attrs.get("dockerfilekey") or "dockerfile",
        attrs.get("contextkey") or "context",
    )
    url = attrs.get("context", "")
    if not is_remote(url):
        return own
    remote: Source
    if is_upload(url):
        download = Download(url, uploaded(session, url))
        remote = TarSource(download.pieces(), title=REMOTE_CONTEXT, origin=download)
    else:
        remote = remote_source(url, build_options(attrs).build_args)
    own_dockerfile = bool(attrs.get("dockerfilekey"))
    return OwnDockerfile(own, remote) if own_dockerfile else WithDirectories(remote, own)


def _image(state: StageState) -> ImageInput:
    return ImageInput(outcome_of(state)[0], tuple(state.layers))


async def _tell(job: Job, channel: Channel) -> None:
    while events := await channel.get():
        for event in events:
            await job.tell(event)


def exporters(request: SolveRequest) -> list[Attributes]:
    """What is to become of the result; older clients name one in two fields."""
    if request.Exporters or not request.ExporterDeprecated:
        return request.Exporters
    attrs = request.ExporterAttrsDeprecated
    return [Attributes(Type=request.ExporterDeprecated, Attrs=attrs)]


def _exports(request: SolveRequest) -> tuple[Export, ...]:
    """Without any, the result is for the cache alone."""
    found = parse_exports((exporter.Type, exporter.Attrs) for exporter in exporters(request))
    return found or (Export(type=CACHE_ONLY),)


def _named_imports(attrs: Mapping[str, str]) -> list[Attributes]:
    """``cache-imports``: what clients give the front end, as JSON."""
    text = attrs.get("cache-imports", "")
    try:
        found = msgspec.json.decode(text, type=list[_Import]) if text else []
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(f"cache-imports is malformed: {error}") from None
    return [Attributes(Type=one.Type, Attrs=one.Attrs) for one in found]


class _Import(msgspec.Struct):
    Type: str = ""
    Attrs: dict[str, str] = {}


def _with_caches(
    options: BuildOptions,
    request: SolveRequest,
    imports: Sequence[Attributes],
    attrs: Mapping[str, str],
) -> BuildOptions:
    """With where the cache comes from and goes to."""
    wanted = (*request.Cache.Imports, *imports, *_named_imports(attrs))
    sources = {(a.Type, *sorted(a.Attrs.items())): a for a in wanted}
    return msgspec.structs.replace(
        options,
        cache_imports=tuple(parse_cache_import(a.Type, a.Attrs) for a in sources.values()),
        cache_exports=tuple(parse_cache_export(a.Type, a.Attrs) for a in request.Cache.Exports),
    )


def _response(built: Built) -> SolveResponse:
    """What ``--metadata-file`` and ``--iidfile`` are made of."""
    return SolveResponse(ExporterResponse=built.response)


def reason(error: BaseException) -> str:
    """The words for a failed build; a client shows the excerpt of a Dockerfile itself."""
    if isinstance(error, Located):
        return reason(error.error)
    if isinstance(error, DockerfileError):
        return error.head
    if isinstance(error, StepFailed):
        return error.told
    if isinstance(error, Cancelled):
        return "context canceled"
    return str(error)
