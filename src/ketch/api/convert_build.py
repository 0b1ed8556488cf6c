"""Query and headers of ``POST /build`` to options, and build output to lines of its stream."""

from __future__ import annotations

from collections.abc import Iterator
from typing import TYPE_CHECKING, Any, TypeVar

import msgspec

from ketch.api import responses
from ketch.api.credentials import build_credentials
from ketch.api.refusal import refused
from ketch.api.schema import Int64
from ketch.build.request.attestations import parse_attestations
from ketch.build.request.cache_options import CacheImport, parse_cache_export, parse_cache_import
from ketch.build.request.exports import Export, parse_exports
from ketch.build.request.options import BuildLimits, BuildOptions, BuildOutput
from ketch.errors import InvalidParameter

if TYPE_CHECKING:
    from ketch.api.call import Call
    from ketch.build.progress.events import Event

T = TypeVar("T")


class _Ulimit(msgspec.Struct):
    Name: str
    Soft: Int64 = 0
    Hard: Int64 = 0


def build_options(call: Call) -> BuildOptions:
    """Raises ``InvalidParameter`` naming a malformed parameter."""
    if call.text("version") not in ("", "1", "2"):
        raise refused(f"the builder version {call.text('version')}")
    return BuildOptions(
        buildkit=call.text("version") == "2" or bool(call.text("progress")),  # ketch build
        dockerfile=call.text("dockerfile") or "Dockerfile",
        tags=tuple(tag for tag in call.query.getall("t", ()) if tag),
        target=call.text("target"),
        build_args=_document(call, "buildargs", dict[str, str | None]) or {},
        labels=_document(call, "labels", dict[str, str]) or {},
        no_cache=call.flag("nocache"),
        no_cache_stages=tuple(call.query.getall("nocachefilter", ())),
        allow=tuple(call.query.getall("allow", ())),
        contexts=_document(call, "buildcontexts", dict[str, str]) or {},
        pull=call.flag("pull"),
        remove=call.flag("rm", default=True),
        force_remove=call.flag("forcerm"),
        quiet=call.flag("q"),
        network_mode=call.text("networkmode"),
        platform=call.text("platform"),
        extra_hosts=_extra_hosts(call),
        limits=_limits(call),
        credentials=build_credentials(call.request.headers.get("X-Registry-Config", "")),
        remote=call.text("remote"),
        squash=call.flag("squash"),
        cache_imports=_cache_imports(call),
        cache_exports=tuple(
            parse_cache_export(output.Type, output.Attrs)
            for output in _document(call, "cacheto", list[_Output]) or []
        ),
        isolation=call.text("isolation"),
        security_options=tuple(call.query.getall("securityopt", ())),
        exports=_exports(call),
        attestations=parse_attestations(_document(call, "attestations", dict[str, str]) or {}),
        verify=call.flag("verify"),
        stepwise=call.flag("stepwise"),
    )


class _Output(msgspec.Struct):
    Type: str = ""
    Attrs: dict[str, str] = {}


def _cache_imports(call: Call) -> tuple[CacheImport, ...]:
    """``cachefrom``: names of images, or (docs/beyond.md) types with attributes."""
    found = _document(call, "cachefrom", list[str | _Output]) or []
    return tuple(
        parse_cache_import("registry", {"ref": each})
        if isinstance(each, str)
        else parse_cache_import(each.Type, each.Attrs)
        for each in found
    )


def _exports(call: Call) -> tuple[Export, ...]:
    """``outputs`` as in Docker's API: JSON, a list of types with attributes."""
    found = _document(call, "outputs", list[_Output]) or []
    return parse_exports((output.Type, output.Attrs) for output in found)


def _extra_hosts(call: Call) -> tuple[str, ...]:
    """Commas or repetition: the API's description and its clients differ."""
    found = call.query.getall("extrahosts", ())
    return tuple(host for text in found for host in text.split(",") if host)


def _limits(call: Call) -> BuildLimits:
    ulimits = _document(call, "ulimits", list[_Ulimit]) or []
    return BuildLimits(
        memory=call.integer("memory"),
        memory_swap=call.integer("memswap"),
        cpu_shares=call.integer("cpushares"),
        cpu_period=call.integer("cpuperiod"),
        cpu_quota=call.integer("cpuquota"),
        cpuset_cpus=call.text("cpusetcpus"),
        cpuset_mems=call.text("cpusetmems"),
        shm_size=call.integer("shmsize"),
        ulimits=tuple((limit.Name, limit.Soft, limit.Hard) for limit in ulimits),
        cgroup_parent=call.text("cgroupparent"),
    )


def _document(call: Call, name: str, type: type[T]) -> T | None:
    """A query parameter that is JSON; "" and null are None."""
    text = call.text(name)
    if not text:
        return None
    try:
        return msgspec.json.decode(text.encode(), type=type | None)
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(f"the parameter {name} is malformed: {error}") from None


def output_lines(output: BuildOutput) -> Iterator[dict[str, Any]]:
    """The JSON objects of one build message."""
    if output.stream:
        yield {"stream": output.stream}
    if output.warning:
        yield {"stream": f"[Warning] {output.warning}\n"}
    if output.aux:
        yield {"aux": {"ID": output.aux}}
    if output.status:
        yield _status(output)
    if output.error:
        detail: dict[str, Any] = {"message": output.error}
        if output.code:
            detail = {"code": output.code, **detail}
        yield {"errorDetail": detail, "error": output.error}


def event_line(event: Event) -> bytes:
    """One event as a line of JSON."""
    return responses.encode(event)


def _status(output: BuildOutput) -> dict[str, Any]:
    found: dict[str, Any] = {"status": output.status}
    if output.id:
        found["id"] = output.id
    if output.total or output.current:
        found["progressDetail"] = {"current": output.current, "total": output.total}
    return found
