"""Images as the state store keeps them, and what the image methods take and return."""

from __future__ import annotations

import msgspec

from ketch.distribution.auth import Credentials
from ketch.engine.containers.spec import ContainerSpec
from ketch.oci.descriptor import Descriptor
from ketch.oci.image import ImageConfig
from ketch.oci.platform import Platform

__all__ = [
    "CommitOptions",
    "Credentials",
    "HistoryLine",
    "ImageDetails",
    "ImagePruneReport",
    "ImageRecord",
    "ImageSummary",
    "ImportOptions",
    "ManifestFacts",
    "Manifests",
    "NewImage",
    "Removed",
]


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An image: ``id`` is the digest of its config blob; ``layers`` are diff IDs, base first."""

    id: str
    layers: tuple[str, ...]
    created_at: int = 0
    size: int = 0
    tags: tuple[str, ...] = ()  # familiar "name:tag"
    digests: tuple[str, ...] = ()  # "name@sha256:…"
    parent: str = ""


class CommitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to make an image of a container; ``reference`` empty = untagged.

    ``changes`` are Dockerfile instructions (``CMD ["x"]``, ``ENV a=b``…). Values of ``overrides``
    that are not empty replace the container's configuration (the body of Docker's commit).
    """

    reference: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: tuple[str, ...] = ()
    overrides: ContainerSpec | None = None


class Removed(msgspec.Struct, frozen=True, kw_only=True):
    """One line of what a removal did: a name taken away, or an image deleted."""

    untagged: str = ""
    deleted: str = ""


class ImagePruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a prune removed, and the bytes of layers that are free again."""

    removed: tuple[Removed, ...] = ()
    reclaimed: int = 0


IMAGE, ATTESTATION, UNKNOWN = "image", "attestation", "unknown"
"""Kinds of manifests."""


class ManifestFacts(msgspec.Struct, frozen=True, kw_only=True):
    """A manifest of an image or an index: its descriptor, its kind, the platform, the bytes of what
    the content store has of it, and whether all of it is here.

    ``image_id`` is the image's that it describes ("" = not here), with the ``size`` of its layers
    and the ``containers`` made of it; ``about`` the digest of what an attestation is of.
    """

    descriptor: Descriptor
    platform: Platform
    content_size: int
    available: bool
    kind: str = IMAGE
    image_id: str = ""
    size: int = 0
    containers: tuple[str, ...] = ()
    about: str = ""


class Manifests(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is of: an index with what it names, or the one manifest it came with."""

    target: Descriptor
    entries: tuple[ManifestFacts, ...]


class ImageDetails(msgspec.Struct, frozen=True, kw_only=True):
    """An image as ``inspect`` shows it; ``manifests`` only of images that came with some.

    ``last_tagged_at`` in ns since the epoch, 0 = never; ``containers`` are the IDs of those made of
    it.
    """

    record: ImageRecord
    config: ImageConfig
    manifests: Manifests | None = None
    last_tagged_at: int = 0
    containers: tuple[str, ...] = ()


class ImageSummary(msgspec.Struct, frozen=True, kw_only=True):
    """An image as a list shows it.

    ``shared_size`` is the bytes of layers that other images have too, -1 when not asked for;
    ``containers`` are the IDs of those made of it; ``manifests`` only where they were asked for.
    """

    record: ImageRecord
    labels: dict[str, str] = {}
    shared_size: int = -1
    containers: tuple[str, ...] = ()
    manifests: Manifests | None = None


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

    ``changes`` are Dockerfile instructions; ``platform`` as ``os/arch[/variant]``; ``source`` is
    the URL it comes from, or ``-``.
    """

    reference: str = ""
    source: str = "-"
    message: str = ""
    changes: tuple[str, ...] = ()
    platform: str = ""


class NewImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image to be made of layers that are stored: its config blob, diff IDs base first."""

    config: bytes
    layers: tuple[str, ...]
    tags: tuple[str, ...] = ()
    parent: str = ""
