"""What a client asks of a front end, whichever of the two calls it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from ketch.build.request.refusals import FRONTENDS
from ketch.buildkit.control_messages import Attributes, SolveRequest
from ketch.buildkit.graphs import files_of
from ketch.errors import Unsupported

if TYPE_CHECKING:
    from ketch.buildkit.gateway_messages import GatewaySolveRequest
    from ketch.buildkit.graph_messages import Definition

DOCKERFILE = "dockerfile.v0"


class Asked(msgspec.Struct, frozen=True):
    """Attributes of the Dockerfile front end, its inputs, caches besides those of the request."""

    attrs: Mapping[str, str]
    inputs: Mapping[str, Definition]
    imports: Sequence[Attributes] = ()


def check_request(request: SolveRequest | GatewaySolveRequest) -> None:
    """Raises ``Unsupported`` for what ketch can't honour."""
    if has_graph(request) and (isinstance(request, SolveRequest) or request.Frontend):
        raise Unsupported("build graphs (LLB) of a client's own are not supported by ketch")
    if request.SourcePolicy if isinstance(request, SolveRequest) else request.SourcePolicies:
        raise Unsupported("source policies are not supported by ketch")


def has_graph(request: SolveRequest | GatewaySolveRequest) -> bool:
    """Whether the client sends a build graph."""
    return request.definition is not None and bool(request.definition.ops)


def asked_of(request: SolveRequest | GatewaySolveRequest) -> Asked:
    """Raises ``Unsupported`` for what is no Dockerfile."""
    check_request(request)
    if isinstance(request, SolveRequest):
        attrs = _without_gateway(request.Frontend, request.FrontendAttrs)
        return Asked(_placed(attrs, request.FrontendInputs), request.FrontendInputs)
    attrs = _without_gateway(request.Frontend, request.FrontendOpt)
    attrs = _placed(attrs, request.FrontendInputs)
    return Asked(attrs, request.FrontendInputs, request.CacheImports)


def _placed(attrs: dict[str, str], inputs: Mapping[str, Definition]) -> dict[str, str]:
    """A context that is an input is one by URL."""
    return {**attrs, "context": files_of(inputs["context"]).url} if "context" in inputs else attrs


def _without_gateway(frontend: str, attrs: Mapping[str, str]) -> dict[str, str]:
    """``gateway.v0`` with the Dockerfile front end's image is what is built in."""
    if frontend == DOCKERFILE:
        return dict(attrs)
    if frontend == "gateway.v0":
        name = attrs.get("source", "").partition("@")[0].removeprefix("docker.io/")
        if name.partition(":")[0] in FRONTENDS:
            return {key: value for key, value in attrs.items() if key != "source"}
        frontend = attrs.get("source", "") or frontend
    raise Unsupported(
        f"the front end {frontend!r} is not supported: only docker/dockerfile is built in"
    )
