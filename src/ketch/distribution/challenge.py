"""``WWW-Authenticate``: what a registry wants to be shown (RFC 9110, section 11.6.1)."""

from __future__ import annotations

import re
from collections.abc import Iterable

import msgspec

_TOKEN = r"[!#$%&'*+.^_`|~0-9A-Za-z-]+"
_SCHEME = re.compile(rf"\s*,?\s*({_TOKEN})(?:\s+|$|(?=,))")
_PARAMETER = re.compile(rf"\s*,?\s*({_TOKEN})\s*=\s*(?:\"((?:[^\"\\]|\\.)*)\"|({_TOKEN}))")


class Challenge(msgspec.Struct, frozen=True):
    """One scheme (lower case) with its parameters (lower-case names)."""

    scheme: str
    parameters: dict[str, str] = {}


def parse(headers: Iterable[str]) -> list[Challenge]:
    """The challenges of a response's headers; whatever follows something malformed is ignored."""
    found = []
    for header in headers:
        position = 0
        while match := _SCHEME.match(header, position):
            parameters, position = _parameters(header, match.end())
            found.append(Challenge(match[1].lower(), parameters))
    return found


def _parameters(header: str, position: int) -> tuple[dict[str, str], int]:
    parameters: dict[str, str] = {}
    while match := _PARAMETER.match(header, position):
        quoted, plain = match[2], match[3]
        value = plain if quoted is None else re.sub(r"\\(.)", r"\1", quoted)
        parameters[match[1].lower()] = value
        position = match.end()
    return parameters, position
