"""Images of a platform: ketch keeps one of a name, so a request for another one is an error."""

from __future__ import annotations

from ketch.errors import NotFound
from ketch.oci import platform as platforms
from ketch.oci.platform import Platform


def check_platform(ref: str, has: Platform, wanted: str) -> None:
    """Raise ``NotFound`` in Docker's words when an image is not for ``wanted`` ("" = any)."""
    if not wanted:
        return
    asked = platforms.parse(wanted)
    if platforms.choose([has], asked) is None:
        raise NotFound(
            f"image with reference {ref} was found but does not provide the specified platform"
            f" ({asked})"
        )
