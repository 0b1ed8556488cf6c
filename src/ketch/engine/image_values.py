"""What the image methods take and return, beside ``ImageRecord`` and ``Progress``."""

from __future__ import annotations

import msgspec

from ketch.distribution.auth import Credentials
from ketch.engine.model import ImageRecord
from ketch.oci.image import ImageConfig
from ketch.oci.platform import Platform

__all__ = [
    "Credentials",
    "HistoryLine",
    "ImageDetails",
    "ImagePruneReport",
    "ImageSummary",
    "ImportOptions",
    "ManifestFacts",
    "NewImage",
    "Removed",
]


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what a removal did: a name taken away, or an image deleted."""

    untagged: str = ""
    deleted: str = ""


class ImagePruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a prune removed, and the bytes of layers that are free again."""

    removed: tuple[Removed, ...] = ()
    reclaimed: int = 0


class ManifestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """The manifest of an image in the content store: its descriptor, the platform, the bytes of all
    compressed blobs, and whether all of them are there."""

    media_type: str
    digest: str
    size: int
    platform: Platform
    content_size: int
    available: bool


class ImageDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An image as ``inspect`` shows it; ``manifest`` only of images that came with one.

    ``last_tagged_at`` in ns since the epoch, 0 = never; ``containers`` are the IDs of those made of
    it.
    """

    record: ImageRecord
    config: ImageConfig
    manifest: ManifestFacts | None = None
    last_tagged_at: int = 0
    containers: tuple[str, ...] = ()


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An image as a list shows it.

    ``shared_size`` is the bytes of layers that other images have too, -1 when not asked for;
    ``containers`` are the IDs of those made of it; ``manifest`` only where it was asked for.
    """

    record: ImageRecord
    labels: dict[str, str] = {}
    shared_size: int = -1
    containers: tuple[str, ...] = ()
    manifest: ManifestFacts | None = None


class HistoryLine(msgspec.Struct, frozen=True, kw_only=True):
    """One step of an image, newest first; ``id`` is empty for all but the top."""

    created_at: int
    created_by: str
    id: str = ""
    size: int = 0
    comment: str = ""
    tags: tuple[str, ...] = ()


class ImportOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to make an image of a bare root file system.

    ``changes`` are Dockerfile instructions; ``platform`` as ``os/arch[/variant]``.
    """

    reference: str = ""
    message: str = ""
    changes: tuple[str, ...] = ()
    platform: str = ""


class NewImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image to be made of layers that are stored: its config blob, diff IDs base first."""

    config: bytes
    layers: tuple[str, ...]
    tags: tuple[str, ...] = ()
    parent: str = ""
