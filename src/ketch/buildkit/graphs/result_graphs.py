"""Graphs that stand for results (``contexts = {base = "target:base"}`` in bake).

A client is given each result with a build graph, and gives that graph back as an input of a front
end, or as a part of a larger one. Ours has one vertex that says what the result is: its
configuration and its layers. Source: BuildKit's client/llb (definition.go).
"""

from __future__ import annotations

import hashlib

from ketch.build.request.options import ImageInput
from ketch.buildkit.graphs.files import digest_of
from ketch.llb.messages import Definition, Input, Op, OpMetadata, SourceOp
from ketch.llb.sources import FAILURE, result_source


def definition_of(image: ImageInput) -> Definition:
    """The graph that stands for an image."""
    name = hashlib.sha256(image.config + "\0".join(image.layers).encode()).hexdigest()
    return _definition(result_source(name, image.config, image.layers))


def failed_definition(id: str) -> Definition:
    """The graph that stands for a result of that name whose steps failed."""
    return _definition(SourceOp(identifier=f"{FAILURE}://{id}"))


def _definition(source: SourceOp) -> Definition:
    vertex = Op(source=source).encode()
    digest = digest_of(vertex)
    outcome = Op(inputs=[Input(digest=digest)]).encode()
    described = {digest: OpMetadata(description={"llb.customname": "result of another build"})}
    return Definition(ops=[vertex, outcome], metadata=described)
