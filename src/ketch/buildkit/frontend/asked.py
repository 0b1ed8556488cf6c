"""What a client asks of a front end, whichever of the two calls it makes."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from ketch.build.request.refusals import is_builtin
from ketch.buildkit.graphs.files import fetched_files
from ketch.buildkit.messages.control import Attributes, SolveRequest
from ketch.errors import InvalidParameter, Unsupported

if TYPE_CHECKING:
    from ketch.buildkit.messages.gateway import GatewaySolveRequest
    from ketch.llb.messages import Definition

DOCKERFILE, GATEWAY = "dockerfile.v0", "gateway.v0"
_CONTEXT = "context"


class Asked(msgspec.Struct, frozen=True):
    """A front end's attributes, its inputs, caches besides those of the request. ``image`` is the
    front end's own; "" is the one for Dockerfiles that is built in."""

    attrs: Mapping[str, str]
    inputs: Mapping[str, Definition]
    imports: Sequence[Attributes] = ()
    image: str = ""
    evaluate: bool = False


def check_request(request: SolveRequest | GatewaySolveRequest) -> None:
    """Raises ``Unsupported`` for what ketch can't honour."""
    if has_graph(request) and request.Frontend:
        raise InvalidParameter("a build has either a graph or a front end, not both")
    if request.SourcePolicy if isinstance(request, SolveRequest) else request.SourcePolicies:
        raise Unsupported("source policies are not supported by ketch")


def has_graph(request: SolveRequest | GatewaySolveRequest) -> bool:
    """Whether the client sends a build graph."""
    return request.definition is not None and bool(request.definition.ops)


def asked_of(request: SolveRequest | GatewaySolveRequest) -> Asked:
    """Raises ``Unsupported`` for an unknown front end."""
    check_request(request)
    if isinstance(request, SolveRequest):
        attrs, imports, evaluate = request.FrontendAttrs, [], False
    else:
        attrs, imports = request.FrontendOpt, request.CacheImports
        evaluate = request.Evaluate
    image = ""
    if request.Frontend == GATEWAY:
        image = attrs.get("source", "")
        if not image:
            raise InvalidParameter("no source specified for gateway: name the front end's image")
    elif request.Frontend != DOCKERFILE:
        raise Unsupported(
            f"the front end {request.Frontend!r:.100} is not supported: {DOCKERFILE} and"
            f" {GATEWAY} are"
        )
    if image and not is_builtin(image):
        return Asked(attrs, request.FrontendInputs, imports, image, evaluate)
    plain = {key: value for key, value in attrs.items() if key != "source"}
    return Asked(
        _placed(plain, request.FrontendInputs), request.FrontendInputs, imports, "", evaluate
    )


def _placed(attrs: dict[str, str], inputs: Mapping[str, Definition]) -> dict[str, str]:
    """A context that is an input is one by URL, if it is fetched."""
    fetched = fetched_files(inputs[_CONTEXT]) if _CONTEXT in inputs else None
    return attrs if fetched is None else {**attrs, _CONTEXT: fetched.url}
