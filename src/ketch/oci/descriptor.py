"""Descriptors: type, digest and size of a piece of content (OCI image-spec, descriptor.md)."""

from __future__ import annotations

from typing import Annotated

import msgspec

from ketch.oci.digest import is_digest
from ketch.oci.platform import Platform

LARGEST_BLOB = 1 << 42
"""4 TiB: sizes above are lies, and would overflow arithmetic elsewhere."""

Size = Annotated[int, msgspec.Meta(ge=0, le=LARGEST_BLOB)]


class Descriptor(msgspec.Struct, frozen=True, kw_only=True, omit_defaults=True, rename="camel"):
    """What another document says of a blob; a ValueError when the digest is none."""

    media_type: str
    digest: str
    size: Size
    urls: list[str] | None = None
    annotations: dict[str, str] | None = None
    platform: Platform | None = None
    artifact_type: str = ""

    def __post_init__(self) -> None:
        if not is_digest(self.digest):
            raise ValueError(f"invalid digest {self.digest[:160]!r}")
