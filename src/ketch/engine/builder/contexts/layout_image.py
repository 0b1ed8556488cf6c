"""Images in OCI layouts of the client's (``--build-context name=oci-layout://…``).

A value is ``oci-layout://STORE[:TAG][@DIGEST]``. The image is not stored: its layers are, while the
build runs. Each layout is read once a build, whichever steps want it.
"""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, NamedTuple

from ketch.build.contexts.named_contexts import LAYOUT
from ketch.build.executor import BaseImage
from ketch.engine.progress import all_of
from ketch.errors import DataCorrupt, InvalidParameter, NotFound
from ketch.oci import digest as digests
from ketch.oci import image as images
from ketch.oci import manifest as manifests
from ketch.oci import platform as platforms
from ketch.oci.manifest import Index, Manifest

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.build.request.offers import LayoutSource
    from ketch.engine.builder.room import BuildRoom
    from ketch.oci.descriptor import Descriptor
    from ketch.oci.platform import Platform

_AT_ONCE = 3  # layers
_DEEPEST = 3  # an index in an index in an index


class Place(NamedTuple):
    """Where an image is: the client's name of the layout, and a tag or a digest in it."""

    store: str
    tag: str
    digest: str


def parse_place(value: str) -> Place:
    """Raises ``InvalidParameter``."""
    name, _, digest = value.removeprefix(LAYOUT).partition("@")
    store, _, tag = name.partition(":")
    if not store or (digest and not digests.is_digest(digest)):
        raise InvalidParameter(
            f"invalid build context {value[:200]!r}: write {LAYOUT}NAME[:TAG]@sha256:…"
        )
    return Place(store, tag or "latest", digest)


class LayoutImages:
    """Those of one build."""

    def __init__(self, room: BuildRoom) -> None:
        self._room = room
        self._bringing = asyncio.Semaphore(_AT_ONCE)
        self._locks: dict[tuple[str, str], asyncio.Lock] = {}
        self._known: dict[tuple[str, str], tuple[BaseImage, str]] = {}

    @property
    def ids(self) -> set[str]:
        """The images so far."""
        return {image.id for image, _ in self._known.values()}

    async def image(self, value: str, platform: str, report: Report) -> tuple[BaseImage, str]:
        """The image for a platform (this machine's by default), with its layers in place; and the
        digest of its manifest. Raises ``DataCorrupt`` and ``NotFound``."""
        wanted = platforms.parse(platform) if platform else platforms.host()
        key = (value, str(wanted))
        async with self._locks.setdefault(key, asyncio.Lock()):
            if key not in self._known:
                self._known[key] = await self._image(value, wanted, report)
            return self._known[key]

    async def _image(self, value: str, wanted: Platform, report: Report) -> tuple[BaseImage, str]:
        place = parse_place(value)
        source = await self._room.offers.layout(f"oci:{place.store}")
        manifest, digest = await _manifest(source, place, wanted)
        config = await source.read(manifest.config)
        diff_ids = images.decode(config).diff_ids
        if len(diff_ids) != len(manifest.layers):
            raise DataCorrupt(
                f"{value} has {len(manifest.layers)} layers but its configuration names"
                f" {len(diff_ids)}: refused"
            )
        layers = dict(zip(diff_ids, manifest.layers, strict=True))
        self._room.hold(layers)
        await all_of([self._layer(source, *one, report) for one in layers.items()])
        return BaseImage(digests.of(config), config, tuple(diff_ids)), digest

    async def _layer(
        self, source: LayoutSource, diff_id: str, blob: Descriptor, report: Report
    ) -> None:
        parts = self._room.parts
        if not parts.snapshots.has_layer(diff_id):
            report.status(digests.short(blob.digest), "Loading layer", 0, blob.size)
            async with self._bringing:
                await parts.images.blobs.take(source.pieces(blob), blob, diff_id)
        report.status(digests.short(blob.digest), "Load complete", blob.size, blob.size)


async def _manifest(source: LayoutSource, place: Place, wanted: Platform) -> tuple[Manifest, str]:
    """Through indexes to the one of a platform, and its digest."""
    data = await source.document(place.tag, place.digest)
    for _ in range(_DEEPEST):
        document = manifests.decode(data)
        if isinstance(document, Manifest):
            return document, digests.of(data)
        data = await source.read(_chosen(document, wanted))
    raise DataCorrupt(f"indexes in {place.store} are nested deeper than {_DEEPEST}: refused")


def _chosen(index: Index, wanted: Platform) -> Descriptor:
    at = platforms.choose([entry.platform for entry in index.manifests], wanted)
    if at is None:
        raise NotFound(f"no matching manifest for {wanted} in the layout's index")
    return index.manifests[at]
