"""SOURCE_DATE_EPOCH: the time that a build is said to have been made at, so that its result is the
same whenever it is made (reproducible-builds.org, "SOURCE_DATE_EPOCH"; BuildKit's
docs/build-repro.md)."""

from __future__ import annotations

from collections.abc import Mapping
from datetime import UTC, datetime

from ketch.errors import InvalidParameter

NAME = "SOURCE_DATE_EPOCH"
_LATEST = 253_402_300_799  # the end of the year 9999


def epoch_of(arguments: Mapping[str, str | None]) -> int | None:
    """Seconds since 1970 that a build argument says; None without it, or when it is empty.

    Raises ``InvalidParameter``.
    """
    text = arguments.get(NAME) or ""
    if not text:
        return None
    if not (text.isascii() and text.isdigit() and len(text) <= 12 and int(text) <= _LATEST):
        raise InvalidParameter(f"invalid {NAME} {text!r}: seconds since 1970 are expected")
    return int(text)


def epoch_text(epoch: int) -> str:
    """RFC 3339."""
    return datetime.fromtimestamp(epoch, UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
