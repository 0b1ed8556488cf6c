"""What a front end asks about images before it makes its graph: digests and configurations."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.buildkit.messages.gateway import (
    ResolveImageConfigRequest,
    ResolveImageConfigResponse,
    ResolveSourceMetaRequest,
    ResolveSourceMetaResponse,
    SourceImage,
)
from ketch.errors import InvalidParameter, Unsupported
from ketch.llb import sources
from ketch.llb.messages import Platform, SourceOp
from ketch.llb.vertices import ImageSource, LayoutSource

if TYPE_CHECKING:
    from ketch.engine.builder.graph.build import GraphBuild

_REGISTRY, _LAYOUT = range(2)
_IMAGE = "docker-image://"


async def image_config(
    request: ResolveImageConfigRequest, build: GraphBuild
) -> ResolveImageConfigResponse:
    """Of an image of a registry, or of a layout of the client's. Raises ``NotFound``…"""
    if request.SourcePolicies:
        raise Unsupported("source policies are not supported by ketch")
    op = SourceOp(identifier=f"{_IMAGE}{request.Ref}")
    if request.ResolverType == _LAYOUT:
        attrs = {"oci.store": request.StoreID}
        op = SourceOp(identifier=f"oci-layout://{request.Ref}", attrs=attrs)
    elif request.ResolverType != _REGISTRY:
        raise InvalidParameter(f"unknown resolver type {request.ResolverType}")
    else:
        op.attrs["image.resolvemode"] = request.ResolveMode
    digest, config = await _known(op, request.Platform, request.LogName, build)
    return ResolveImageConfigResponse(Digest=digest, Config=config, Ref=request.Ref)


async def source_meta(
    request: ResolveSourceMetaRequest, build: GraphBuild
) -> ResolveSourceMetaResponse:
    """Of an image too; of other sources nothing more is known before they are fetched."""
    if request.SourcePolicies:
        raise Unsupported("source policies are not supported by ketch")
    op = request.Source
    if op is None:
        raise InvalidParameter("source is required")
    image = None
    if op.identifier.startswith((_IMAGE, "oci-layout://")):
        asked = SourceOp(identifier=op.identifier, attrs=dict(op.attrs))
        if request.ResolveMode and op.identifier.startswith(_IMAGE):
            asked.attrs["image.resolvemode"] = request.ResolveMode
        digest, config = await _known(asked, request.Platform, request.LogName, build)
        image = SourceImage(Digest=digest, Config=config)
    return ResolveSourceMetaResponse(Source=op, Image=image)


async def _known(
    op: SourceOp, platform: Platform | None, title: str, build: GraphBuild
) -> tuple[str, bytes]:
    source = sources.source(op)
    wanted = (
        ""
        if platform is None
        else "/".join(filter(None, (platform.OS, platform.Architecture, platform.Variant)))
    )
    if isinstance(source, ImageSource):
        title = title or f"resolve image config for {op.identifier}"
        return await build.describe(source.reference, wanted, title, pull=source.pull)
    assert isinstance(source, LayoutSource)
    return await build.describe_layout(source.value, wanted, title or op.identifier)
