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

from ketch.build.contexts.named_contexts import INPUT
from ketch.build.request.options import BuildOptions, ImageInput
from ketch.buildkit.graph_messages import Definition, Input, Op, OpMetadata, SourceOp
from ketch.buildkit.graphs import digest_of, files_of, outcome
from ketch.errors import InvalidParameter
from ketch.oci.digest import is_digest

_RESULT, _FAILURE = "ketch-result://", "ketch-failure://"
_CONFIG, _LAYERS = "ketch.config", "ketch.layers"


def definition_of(image: ImageInput) -> Definition:
    """The graph that stands for an image."""
    name = hashlib.sha256(image.config + "\0".join(image.layers).encode()).hexdigest()
    attrs = {_CONFIG: image.config.decode(), _LAYERS: ",".join(image.layers)}
    return _definition(SourceOp(identifier=_RESULT + name, attrs=attrs))


def failed_definition(id: str) -> Definition:
    """The graph that stands for a result of that name whose steps failed."""
    return _definition(SourceOp(identifier=_FAILURE + id))


def outcome_digest(definition: Definition) -> str:
    """Of the vertex that a graph comes to."""
    return Op.decode(definition.ops[-1]).inputs[0].digest


def failure_in(definition: Definition) -> str:
    """Which failed result a graph stands for, "" for others."""
    source = outcome(definition).source
    name = "" if source is None else source.identifier
    return name.removeprefix(_FAILURE) if name.startswith(_FAILURE) else ""


def _definition(source: SourceOp) -> Definition:
    vertex = Op(source=source).encode()
    digest = digest_of(vertex)
    outcome = Op(inputs=[Input(digest=digest)]).encode()
    described = {digest: OpMetadata(description={"llb.customname": "result of another build"})}
    return Definition(ops=[vertex, outcome], metadata=described)


def with_inputs(options: BuildOptions, inputs: Mapping[str, Definition]) -> BuildOptions:
    """With what named contexts of the kind ``input:`` mean: images, or files that are fetched.

    Raises ``InvalidParameter`` for an input that is not there, ``Unsupported`` for another graph.
    """
    contexts, found = dict(options.contexts), {}
    for name, value in options.contexts.items():
        key = value.removeprefix(INPUT)
        if key == value:
            continue
        if key not in inputs:
            raise InvalidParameter(f"the build has no input {key!r}")
        image = result_in(inputs[key])
        if image is not None:
            found[key] = image
        else:
            contexts[name] = files_of(inputs[key]).context
    return msgspec.structs.replace(options, contexts=contexts, inputs=found)


def result_in(definition: Definition) -> ImageInput | None:
    """The image that a graph comes to, or None when it is something else; raises
    ``InvalidParameter``."""
    source = outcome(definition).source
    if source is None or not source.identifier.startswith(_RESULT):
        return None
    return _image(source)


def _image(source: SourceOp) -> ImageInput:
    layers = tuple(filter(None, source.attrs.get(_LAYERS, "").split(",")))
    config = source.attrs.get(_CONFIG, "").encode("utf-8", "surrogateescape")
    try:
        is_object = isinstance(json.loads(config), dict)
    except (ValueError, RecursionError):
        is_object = False
    if not is_object or not all(map(is_digest, layers)):
        raise InvalidParameter(f"{source.identifier!r:.200} is no result of a build")
    return ImageInput(config=config, layers=layers)
