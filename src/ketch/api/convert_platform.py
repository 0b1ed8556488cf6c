"""Platforms in requests: a JSON object since API 1.46, ``os/arch[/variant]`` before."""

from __future__ import annotations

from typing import Any

import msgspec

from ketch.errors import InvalidParameter
from ketch.oci.platform import Platform


def platform_text(text: str) -> str:
    """``os/arch[/variant]`` of a parameter in either form; "" for "". Raises
    ``InvalidParameter``."""
    if not text.lstrip().startswith("{"):
        return text
    try:
        platform = msgspec.json.decode(text.encode(), type=Platform)
    except (msgspec.DecodeError, UnicodeError) as error:
        raise InvalidParameter(f"failed to parse platform: {error}") from None
    if not platform.os or not platform.architecture:
        raise InvalidParameter("both OS and Architecture must be provided")
    return str(platform)


def platform_json(platform: Platform) -> dict[str, Any]:
    """The object of answers."""
    found = {"architecture": platform.architecture, "os": platform.os}
    optional = {
        "os.version": platform.os_version,
        "os.features": platform.os_features,
        "variant": platform.variant,
    }
    return found | {name: value for name, value in optional.items() if value}
