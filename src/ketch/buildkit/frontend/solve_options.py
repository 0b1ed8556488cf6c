"""Options that come with the request of a build, whatever makes its steps."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

import msgspec

from ketch.build.request.cache_options import parse_cache_export, parse_cache_import
from ketch.build.request.exports import CACHE_ONLY, Export, parse_exports
from ketch.build.request.options import BuildOptions
from ketch.buildkit.frontend.attributes import build_options
from ketch.buildkit.messages.control import Attributes, SolveRequest
from ketch.errors import InvalidParameter

_PREFIXES = ("attest:", "build-arg:", "vcs:")
_PLAIN = ("multi-platform", "cache-imports")


def exporters(request: SolveRequest) -> list[Attributes]:
    """What is to become of the result; older clients name one in two fields."""
    if request.Exporters or not request.ExporterDeprecated:
        return request.Exporters
    attrs = request.ExporterAttrsDeprecated
    return [Attributes(Type=request.ExporterDeprecated, Attrs=attrs)]


def exports_of(request: SolveRequest) -> tuple[Export, ...]:
    """Without any, the result is for the cache alone."""
    found = parse_exports((exporter.Type, exporter.Attrs) for exporter in exporters(request))
    return found or (Export(type=CACHE_ONLY),)


def graph_options(request: SolveRequest) -> BuildOptions:
    """Of a build whose steps are graphs: what is about its outputs, and not for a front end."""
    attrs = {
        name: text
        for name, text in request.FrontendAttrs.items()
        if name in _PLAIN or name.startswith(_PREFIXES)
    }
    options = build_options(attrs, exports=exports_of(request), allow=request.Entitlements)
    return with_caches(msgspec.structs.replace(options, dockerfile=""), request, (), attrs)


class _Import(msgspec.Struct):
    Type: str = ""
    Attrs: dict[str, str] = {}


def _named_imports(attrs: Mapping[str, str]) -> list[Attributes]:
    """``cache-imports``: what clients give the front end, as JSON."""
    text = attrs.get("cache-imports", "")
    try:
        found = msgspec.json.decode(text, type=list[_Import]) if text else []
    except (msgspec.DecodeError, UnicodeError, RecursionError) as error:
        raise InvalidParameter(f"cache-imports is malformed: {error}") from None
    return [Attributes(Type=one.Type, Attrs=one.Attrs) for one in found]


def with_caches(
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
