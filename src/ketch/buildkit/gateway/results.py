"""What a front end came to, in the words of the gateway: references, configurations."""

from __future__ import annotations

import json
from collections.abc import Mapping

from ketch.build.request.options import ImageInput
from ketch.buildkit.graphs.result_graphs import definition_of, failed_definition
from ketch.buildkit.messages.gateway import Ref, RefMap, Result
from ketch.oci import platform as platforms

_CONFIG = "containerimage.config"


def named(result: Result) -> str:
    """The reference of a result, or one of those of its platforms."""
    if result.ref is not None:
        return result.ref.id
    if result.refs is not None:
        return next((ref.id for ref in result.refs.refs.values()), "")
    return result.refDeprecated


def names_of(id: str, images: Mapping[str, ImageInput]) -> dict[str, str]:
    """The references of a result by platform."""
    return {name: id if len(images) == 1 else f"{id}:{name}" for name in images}


def result_of(id: str, images: Mapping[str, ImageInput], *, arrays: bool) -> Result:
    """What a front end says about its result: one reference, or one for each platform.

    Each comes with what it is as an input of other builds.
    """
    if len(images) == 1:
        (image,) = images.values()
        metadata = {_CONFIG: image.config} if json.loads(image.config) else {}
        if not arrays:
            return Result(refDeprecated=id, metadata=metadata)
        return Result(ref=_ref(id, image), metadata=metadata)
    refs = names_of(id, images)
    listed = [{"ID": name, "Platform": _platform(name)} for name in images]
    return Result(
        refs=RefMap(refs={name: _ref(ref, images[name]) for name, ref in refs.items()}),
        metadata={
            "refs.platforms": json.dumps({"Platforms": listed}).encode(),
            **{f"{_CONFIG}/{name}": image.config for name, image in images.items()},
        },
    )


def failed_result(id: str, *, arrays: bool) -> Result:
    """A result whose steps fail when it is evaluated, as BuildKit's clients expect it."""
    ref = Ref(id=id, definition=failed_definition(id))
    return Result(ref=ref) if arrays else Result(refDeprecated=id)


def _ref(id: str, image: ImageInput) -> Ref:
    return Ref(id=id, definition=definition_of(image))


def _platform(name: str) -> dict[str, str]:
    found = platforms.parse(name)
    words = {"architecture": found.architecture, "os": found.os, "variant": found.variant}
    return {key: word for key, word in words.items() if word}
