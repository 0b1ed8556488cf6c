"""Images of what graphs come to: a configuration of the client's, with the layers that there are.

Source: BuildKit's exporter/containerimage/writer.go: layers without a line in the history get one.
"""

from __future__ import annotations

import json
from collections.abc import Callable
from typing import Any

import msgspec

from ketch.build.steps.image_config import PATH, timestamp
from ketch.engine.builder.outcome.result import Result
from ketch.errors import DataCorrupt, InvalidParameter
from ketch.oci import image as images
from ketch.oci import platform as platforms
from ketch.oci.platform import Platform

_COMMENT = "buildkit.exporter.image.v0"


class Made(msgspec.Struct, frozen=True):
    """How a layer came to be: in whose words, and when (RFC 3339)."""

    by: str = ""
    at: str = ""


def image_result(
    config: bytes, layers: tuple[str, ...], made: Callable[[str], Made], platform: str = ""
) -> Result:
    """An empty ``config`` is an image without one of its own. Raises ``InvalidParameter`` for what
    is no configuration."""
    wanted = platforms.parse(platform) if platform else platforms.host()
    document = _object(config) if config else _empty(wanted)
    history = document.get("history")
    history = history if isinstance(history, list) else []
    lines = [line for line in history or () if isinstance(line, dict)]
    document["rootfs"] = {"type": "layers", "diff_ids": list(layers)}
    document["history"] = _history(lines, layers, made)
    if not document.get("created"):
        times = [line.get("created") for line in document["history"]]
        document["created"] = max((t for t in times if isinstance(t, str)), default=timestamp())
    data = json.dumps(document, separators=(",", ":"), ensure_ascii=False).encode()
    try:
        found = images.decode(data).platform
    except DataCorrupt as error:
        raise InvalidParameter(str(error)) from None
    return Result(
        platform=found if found.os or found.architecture else wanted,
        config=data,
        layers=layers,
        parent="",
    )


def _object(config: bytes) -> dict[str, Any]:
    try:
        found = json.loads(config)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidParameter("malformed configuration of an image: it is no object")
    return found


def _empty(platform: Platform) -> dict[str, Any]:
    words = {
        "architecture": platform.architecture,
        "os": platform.os,
        "variant": platform.variant,
    }
    config = {"Env": [f"PATH={PATH}"], "WorkingDir": "/"}
    return {**{key: word for key, word in words.items() if word}, "config": config}


def _history(
    lines: list[dict[str, Any]], layers: tuple[str, ...], made: Callable[[str], Made]
) -> list[dict[str, Any]]:
    """With a line for each layer; of more lines than there are layers the last ones stay."""
    full = sum(not line.get("empty_layer") for line in lines)
    if full > len(layers):
        lines = _without(lines, full - len(layers))
        full = len(layers)
    for layer in layers[full:]:
        how = made(layer)
        line = {"created": how.at or timestamp(), "comment": _COMMENT}
        lines.append({**line, "created_by": how.by} if how.by else line)
    return lines


def _without(lines: list[dict[str, Any]], many: int) -> list[dict[str, Any]]:
    kept = []
    for line in lines:
        if many and not line.get("empty_layer"):
            many -= 1
        else:
            kept.append(line)
    return kept
