"""Addresses as people may see them: progress, history of an image, errors."""

from __future__ import annotations

import re

_ACCOUNT = re.compile(r"(https?://)([^/?#\s]*)@", re.IGNORECASE)


def without_account(text: str) -> str:
    """A text whose URLs show no account: a name alone may be a token, and what a step is called
    goes into the image."""
    return _ACCOUNT.sub(_masked, text)


def _masked(found: re.Match[str]) -> str:
    return found[1] + ("xxxxx:xxxxx@" if ":" in found[2] else "xxxxx@")
