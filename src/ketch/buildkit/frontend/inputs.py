"""Inputs of the Dockerfile front end that are graphs: named contexts ``input:KEY``.

Source: BuildKit's frontend/dockerui (named contexts, "input").
"""

from __future__ import annotations

import json
from base64 import b64decode
from collections.abc import Mapping
from typing import TYPE_CHECKING

import msgspec

from ketch.build.contexts.named_contexts import INPUT
from ketch.build.request.options import BuildOptions, ImageInput
from ketch.buildkit.graphs.files import fetched_files
from ketch.buildkit.graphs.results import CONFIG
from ketch.buildkit.graphs.states import result_in
from ketch.errors import InvalidParameter
from ketch.llb.graph import graph_of
from ketch.llb.messages import Definition

if TYPE_CHECKING:
    from ketch.buildkit.gateway.holdings import Holdings


async def with_inputs(
    options: BuildOptions, inputs: Mapping[str, Definition], holdings: Holdings
) -> BuildOptions:
    """With what named contexts of the kind ``input:`` mean: images, files that are fetched, or what
    another graph comes to, which runs now. Raises ``InvalidParameter`` for an input that is not
    there, and what a graph's vertex failed with."""
    contexts, found = dict(options.contexts), {}
    for name, value in options.contexts.items():
        key = value.removeprefix(INPUT)
        if key == value:
            continue
        if key not in inputs:
            raise InvalidParameter(f"the build has no input {key!r}")
        image = result_in(graph_of(inputs[key]))
        fetched = fetched_files(inputs[key]) if image is None else None
        if fetched is not None:
            contexts[name] = fetched.context
        else:
            found[key] = image or await _made(key, inputs[key], options, holdings)
    return msgspec.structs.replace(options, contexts=contexts, inputs=found)


async def _made(
    key: str, definition: Definition, options: BuildOptions, holdings: Holdings
) -> ImageInput:
    """What a graph comes to, with the configuration that the client says goes with it."""
    state = holdings.states.get(await holdings.found(definition))
    text = options.input_metadata.get(key, "")
    try:
        config = b64decode(json.loads(text).get(CONFIG) or "") if text else b""
    except (ValueError, AttributeError, TypeError, RecursionError):
        raise InvalidParameter(f"input-metadata:{key} is malformed") from None
    return ImageInput(config or b"{}", await state.layers())
