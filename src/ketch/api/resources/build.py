"""Building images with the classic builder's protocol."""

from __future__ import annotations

from collections.abc import Iterable
from typing import TYPE_CHECKING, Any

from ketch.api import responses
from ketch.api.convert_build import build_options, event_line, output_lines
from ketch.api.filters import keys, resolve_until
from ketch.api.resources import build_by_session
from ketch.api.resources.container_files import upload
from ketch.build.contexts.named_contexts import LOCAL
from ketch.build.dockerfile.source import DockerfileError, excerpt
from ketch.build.failures import StepFailed
from ketch.engine.builder.cache.gc import Amounts
from ketch.engine.builder.contexts.demands import DEFINITION, DemandedSource
from ketch.engine.builder.contexts.remote import OwnDockerfile, remote_source
from ketch.engine.builder.contexts.source import Source, TarSource
from ketch.engine.builder.questions import CALLS
from ketch.errors import InvalidParameter, KetchError

if TYPE_CHECKING:
    from aiohttp.web_response import StreamResponse

    from ketch.api.call import Call
    from ketch.build.progress.events import Event
    from ketch.build.request.offers import Offers
    from ketch.build.request.options import BuildOptions
    from ketch.engine.builder.contexts.demands import Demands
    from ketch.engine.builder.running import RunningBuild

_PRUNE_FILTERS = keys(
    "until unused-for id parent type description inuse shared private label label!"
)


async def build(call: Call) -> StreamResponse:
    """POST /build: what is wrong before the first step is an error status, later ones a line."""
    if call.text("version") == "2":
        return await build_by_session.build(call)
    if call.text("call"):
        return await _answer(call, build_options(call))
    token = call.text("offers")
    if not token:
        options = build_options(call)
        return await _built(call, options, _source(call, options), None)
    desk = call.engine.builder.offers
    offers = desk.take(token)
    try:
        options = build_options(call)
        return await _built(
            call,
            options,
            _source(call, options, offers.demands),
            offers.with_accounts(options.credentials),
        )
    finally:
        desk.done(token)


def _source(call: Call, options: BuildOptions, demands: Demands | None = None) -> Source:
    """The request's body, what ``remote`` names, or what the client is asked for."""
    if call.flag("contextondemand"):
        if demands is None or options.remote:
            raise InvalidParameter("contextondemand needs offers, and goes with no remote context")
        return DemandedSource(TarSource(upload(call), name=DEFINITION), demands)
    if not options.remote:
        values = options.contexts.values()
        named = [v.removeprefix(LOCAL) for v in values if v.startswith(LOCAL)]
        return TarSource(upload(call), named)
    remote = remote_source(options.remote, options.build_args)
    if not call.flag("dockerfilebody"):
        return remote
    return OwnDockerfile(TarSource(upload(call), directory="dockerfile"), remote)


async def _answer(call: Call, options: BuildOptions) -> StreamResponse:
    """POST /build?call=check|outline|targets (docs/beyond.md): nothing is built."""
    request = CALLS.get(call.text("call"))
    if request is None:
        words = ", ".join(CALLS)
        raise InvalidParameter(f"invalid call {call.text('call')!r}: there is {words}")
    answer = await call.engine.builder.ask(request, _source(call, options), options)
    found = {"Result": answer.document, "Text": answer.text, "Status": answer.status}
    return responses.json(found)


async def _built(
    call: Call, options: BuildOptions, source: Source, offers: Offers | None
) -> StreamResponse:
    if call.text("progress"):
        return await _with_events(call, options, source, offers)
    outputs = call.engine.builder.build(source, options, offers)
    try:
        output = await anext(outputs, None)
        response = await responses.stream(call, responses.JSON)
        while output is not None:
            for line in output_lines(output):
                await response.write(responses.encode(line))
            output = await anext(outputs, None)
        return response
    finally:
        await outputs.aclose()  # type: ignore[attr-defined]


async def _with_events(
    call: Call, options: BuildOptions, source: Source, offers: Offers | None
) -> StreamResponse:
    """POST /build?progress=events (docs/beyond.md): JSON lines of events, then the outcome."""
    if call.text("progress") != "events":
        raise InvalidParameter(f"invalid progress {call.text('progress')!r}: there is 'events'")
    builder = call.engine.builder
    async with builder.running(source, options, offers) as build:
        bursts = build.bursts()
        told = _lines(await anext(bursts, []), options)
        if build.has_told_all:  # nearly all is from the cache: one packet wakes the client once
            whole = responses.at_once(told + responses.encode(await _outcome(build)))
            await whole.prepare(call.request)
            await whole.write_eof()  # nobody needs to wait until all is tidied up
            return whole
        response = await responses.stream(call, responses.JSON)
        await response.write(told)
        async for events in bursts:
            await response.write(_lines(events, options))
        await response.write(responses.encode(await _outcome(build)))
        await response.write_eof()
        return response


def _lines(events: Iterable[Event], options: BuildOptions) -> bytes:
    return b"" if options.quiet else b"".join(map(event_line, events))


async def _outcome(build: RunningBuild) -> dict[str, Any]:
    try:
        built = await build.built()
    except KetchError as error:
        return {"type": "failed", "ref": build.ref, **_failure(build, error)}
    return {
        "type": "built",
        "ref": build.ref,
        "image": built.image,
        "tags": list(built.tags),
        "response": built.response,
    }


def _failure(build: RunningBuild, error: KetchError) -> dict[str, Any]:
    found: dict[str, Any] = {"error": str(error)}
    if isinstance(error, StepFailed):
        found |= {"code": error.code, "image": error.image}
        found |= {"environment": list(error.run.step.env)} if error.run else {}
    if isinstance(error, DockerfileError):
        found["error"] = error.head
        found["excerpt"] = excerpt(error.source, error.where, column=True)
    elif build.failed_at is not None:
        found["excerpt"] = excerpt(build.failed_at.source, build.failed_at.where)
    return found


async def prune(call: Call) -> StreamResponse:
    """POST /build/prune"""
    filters = resolve_until(resolve_until(call.filters(_PRUNE_FILTERS)), "unused-for")
    amounts = Amounts(
        reserved=call.integer("reserved-space") or call.integer("keep-storage"),
        max_used=call.integer("max-used-space"),
        min_free=call.integer("min-free-space"),
    )
    report = await call.engine.builder.cache.prune(filters, amounts, all=call.flag("all"))
    return responses.json(
        {"CachesDeleted": list(report.deleted) or None, "SpaceReclaimed": report.reclaimed}
    )
