"""Which of the platforms that are there was asked for, and Docker's words when it is none."""

from __future__ import annotations

from collections.abc import Sequence

from ketch.errors import NotFound
from ketch.oci import platform as platforms
from ketch.oci.platform import Platform


def chosen(ref: str, offered: Sequence[Platform], wanted: str) -> int:
    """The place of the best of ``offered`` for ``wanted``; raises ``NotFound``."""
    asked = platforms.parse(wanted)
    at = platforms.choose(offered, asked)
    if at is None:
        raise NotFound(
            f"image with reference {ref} was found but does not provide the specified platform"
            f" ({asked})"
        )
    return at
