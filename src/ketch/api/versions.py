"""API versions: which are served, and how a client that asks for another one is told."""

from __future__ import annotations

import re

from ketch.errors import InvalidParameter

Version = tuple[int, int]

MINIMUM: Version = (1, 24)
MAXIMUM: Version = (1, 51)

_PREFIX = re.compile(r"/v(\d[\d.]*)(/.*)", re.DOTALL)
_NUMBER = re.compile(r"(\d{1,4})\.(\d{1,4})")


class TooOld(InvalidParameter):
    """The client asked for a version below ``MINIMUM``; answered as plain text, as Docker does,
    because clients that old do not read JSON errors."""


def text(version: Version) -> str:
    """``1.51``."""
    return f"{version[0]}.{version[1]}"


def split(path: str) -> tuple[str | None, str]:
    """Take ``/v1.44`` off a path: the version as written (None without prefix), and the rest."""
    match = _PREFIX.fullmatch(path)
    if match is None:
        return None, path
    return match[1], match[2]


def check(written: str | None) -> Version:
    """The version to serve; without one, the newest. Raises ``TooOld``, ``InvalidParameter``."""
    if written is None:
        return MAXIMUM
    match = _NUMBER.fullmatch(written)
    if match is None:
        raise InvalidParameter(f"invalid API version {written!r}: it has the form 1.{MAXIMUM[1]}")
    version = (int(match[1]), int(match[2]))
    if version > MAXIMUM:
        raise InvalidParameter(
            f"client version {written} is too new. Maximum supported API version is {text(MAXIMUM)}"
        )
    if version < MINIMUM:
        raise TooOld(
            f"client version {written} is too old. Minimum supported API version is "
            f"{text(MINIMUM)}, please upgrade your client to a newer version"
        )
    return version
