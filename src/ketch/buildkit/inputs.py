"""Results of one build as inputs of another (``contexts = {base = "target:base"}`` in bake).

A client is given each result with a build graph, and gives that graph back as an input of the front
end, named by ``context:NAME=input:KEY``. Ours has one vertex that says what the result is: its
configuration and its layers. Whatever else a client may do with graphs is refused.
Source: BuildKit's frontend/dockerui (named contexts, "input") and client/llb (definition.go).
"""

from __future__ import annotations

import hashlib
import json
from collections.abc import Mapping

import msgspec

from ketch.build.named_contexts import INPUT
from ketch.build.options import BuildOptions, ImageInput
from ketch.buildkit.graph_messages import Definition, Input, Op, OpMetadata, SourceOp
from ketch.errors import InvalidParameter, Unsupported
from ketch.oci.digest import is_digest

_RESULT = "ketch-result://"
_CONFIG, _LAYERS = "ketch.config", "ketch.layers"


def definition_of(image: ImageInput) -> Definition:
    """The graph that stands for an image."""
    name = hashlib.sha256(image.config + "\0".join(image.layers).encode()).hexdigest()
    attrs = {_CONFIG: image.config.decode(), _LAYERS: ",".join(image.layers)}
    vertex = Op(source=SourceOp(identifier=_RESULT + name, attrs=attrs)).encode()
    digest = _digest(vertex)
    outcome = Op(inputs=[Input(digest=digest)]).encode()
    described = {digest: OpMetadata(description={"llb.customname": "result of another build"})}
    return Definition(ops=[vertex, outcome], metadata=described)


def with_inputs(options: BuildOptions, inputs: Mapping[str, Definition]) -> BuildOptions:
    """With the images that named contexts of the kind ``input:`` mean.

    Raises ``InvalidParameter`` for an input that is not there, ``Unsupported`` for one that is no
    result of ketch's.
    """
    wanted = [v.removeprefix(INPUT) for v in options.contexts.values() if v.startswith(INPUT)]
    found = {}
    for key in wanted:
        if key not in inputs:
            raise InvalidParameter(f"the build has no input {key!r}")
        found[key] = _image(key, inputs[key])
    return msgspec.structs.replace(options, inputs=found) if found else options


def _image(key: str, definition: Definition) -> ImageInput:
    source = _outcome(key, definition).source
    if source is None or not source.identifier.startswith(_RESULT):
        raise Unsupported(
            f"the input {key!r} is a build graph (LLB) of the client's own: ketch takes results of"
            " its own builds only"
        )
    layers = tuple(filter(None, source.attrs.get(_LAYERS, "").split(",")))
    config = source.attrs.get(_CONFIG, "").encode("utf-8", "surrogateescape")
    try:
        is_object = isinstance(json.loads(config), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object or not all(map(is_digest, layers)):
        raise InvalidParameter(f"the input {key!r} is no result of a build")
    return ImageInput(config=config, layers=layers)


def _outcome(key: str, definition: Definition) -> Op:
    """The vertex that the last one of a graph names."""
    vertices = {_digest(data): data for data in definition.ops}
    last = Op.decode(definition.ops[-1]) if definition.ops else Op()
    if len(last.inputs) != 1 or last.inputs[0].digest not in vertices:
        raise InvalidParameter(f"the input {key!r} is a build graph without an outcome")
    return Op.decode(vertices[last.inputs[0].digest])


def _digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()
