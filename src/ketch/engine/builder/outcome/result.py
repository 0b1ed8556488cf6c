"""What the steps of a build came to."""

from __future__ import annotations

import msgspec

from ketch.build.scanned import Scanned
from ketch.oci.platform import Platform


class Result(msgspec.Struct, frozen=True, kw_only=True):
    """What one platform's steps came to; ``parent`` is the ID of the base. ``scanned`` are more
    trees that a bill of materials is wanted of."""

    platform: Platform
    config: bytes
    layers: tuple[str, ...]
    parent: str
    scanned: Scanned = ()
