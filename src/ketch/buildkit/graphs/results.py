"""What a client or a front end returns of its graphs, as results to be exported.

A result is one reference or one for each platform; its metadata has the configurations of images.
Source: BuildKit's exporter/containerimage/exptypes.
"""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import TYPE_CHECKING, Any

from ketch.errors import InvalidParameter, Unsupported
from ketch.oci import platform as platforms

if TYPE_CHECKING:
    from ketch.buildkit.messages.gateway import Result

CONFIG = "containerimage.config"
_PLATFORMS = "refs.platforms"
_REFUSED = ("annotation", "attestation")


def references(result: Result) -> dict[str, str]:
    """Names of results by platform; "" is the only one's. Raises ``InvalidParameter``, and
    ``Unsupported`` for what a front end may add to an image and ketch has no way to."""
    if result.attestations:
        raise Unsupported("attestations that a front end gives are not supported")
    for key in result.metadata:
        if key.startswith(_REFUSED):
            raise Unsupported(f"{key!r:.100} that a front end gives is not supported")
    if result.ref is not None:
        found = {"": result.ref.id}
    elif result.refs is not None:
        found = {key: ref.id for key, ref in result.refs.refs.items()}
    elif result.refsDeprecated is not None:
        found = dict(result.refsDeprecated.refs)
    else:
        found = {"": result.refDeprecated}
    if "" in found:
        return found if found[""] else {}
    return _by_platform(found, result.metadata.get(_PLATFORMS, b""))


def _by_platform(found: Mapping[str, str], listed: bytes) -> dict[str, str]:
    named = dict(_listed(listed)) if listed else {key: key for key in found}
    if set(named) != set(found):
        raise InvalidParameter("a result for several platforms has to say which they are")
    return {str(platforms.parse(named[key])): ref for key, ref in found.items()}


def _listed(data: bytes) -> list[tuple[str, str]]:
    document = _object(data, _PLATFORMS)
    try:
        rows = document.get("Platforms") or []
        return [(str(row["ID"]), _platform(row["Platform"])) for row in rows]
    except (KeyError, TypeError, AttributeError):
        raise InvalidParameter(f"malformed {_PLATFORMS} of a result") from None


def _platform(words: Mapping[str, Any]) -> str:
    parts = (words.get("os"), words.get("architecture"), words.get("variant"))
    return "/".join(str(part) for part in parts if part)


def config_of(result: Result, platform: str) -> bytes:
    """The configuration that goes with a platform's reference; b"" when there is none."""
    return result.metadata.get(f"{CONFIG}/{platform}") or result.metadata.get(CONFIG, b"")


def _object(data: bytes, what: str) -> dict[str, Any]:
    try:
        found = json.loads(data)
    except (ValueError, RecursionError):
        found = None
    if not isinstance(found, dict):
        raise InvalidParameter(f"malformed {what} of a result")
    return found
