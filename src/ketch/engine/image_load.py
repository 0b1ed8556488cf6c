"""Loading archives: Docker's (old and new form) and OCI layouts.

Documents are trusted with nothing: every layer must have the diff ID that the image configuration
names at its place, every blob the digest of its name. The image is recorded only then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator

import msgspec

from ketch.engine.image_archive import ArchiveReader, Members
from ketch.engine.image_gc import Collector
from ketch.engine.image_layout import LayoutImage, images_of_layout
from ketch.engine.image_parts import ImageParts
from ketch.engine.image_platform import check_platform
from ketch.engine.image_store import StoredImage
from ketch.engine.pipes import fed
from ketch.engine.progress import Emit, Progress
from ketch.errors import DataCorrupt, InvalidParameter, KetchError
from ketch.oci import digest as digests
from ketch.oci import image as images
from ketch.oci import platform as platforms
from ketch.oci import reference as references
from ketch.oci import strictjson
from ketch.oci.image import ImageConfig
from ketch.oci.platform import Platform
from ketch.oci.reference import Reference

_INTERVAL = 1 << 21  # bytes between two lines of one layer


class _DockerImage(msgspec.Struct, rename="pascal"):
    """One item of ``manifest.json`` (moby's image specification 1.2, "Combined Image JSON")."""

    config: str
    layers: list[str] | None = None
    repo_tags: list[str] | None = None


class Loader:
    """See the module's docstring."""

    def __init__(self, parts: ImageParts, collector: Collector) -> None:
        self._parts = parts
        self._collector = collector

    async def load(self, stream: AsyncIterator[bytes], platform: str, emit: Emit) -> None:
        """Load one archive; see ``Images.load``."""
        try:
            async with self._collector.held():
                members = await self._read(stream, emit)
                for found in await asyncio.to_thread(_images, members, platform):
                    await self._store(members, found, emit)
        finally:
            await self._collector.collect()  # of what no image turned out to need

    async def _read(self, stream: AsyncIterator[bytes], emit: Emit) -> Members:
        loop = asyncio.get_running_loop()
        told: dict[str, int] = {}

        def tell(name: str, current: int, total: int) -> None:
            if current < total and current - told.get(name, -_INTERVAL) < _INTERVAL:
                return
            told[name] = current
            line = Progress(status="Loading layer", id=name, current=current, total=total)
            loop.call_soon_threadsafe(emit, line)

        reader = ArchiveReader(self._parts.content, self._parts.ingest, tell, loop)

        async def work(fd: int) -> Members:
            return await asyncio.to_thread(reader.read, os.dup(fd))

        members: Members = await fed(stream, work)
        return members

    async def _store(self, members: Members, found: LayoutImage, emit: Emit) -> None:
        config = images.decode(found.config)
        await self._store_layers(members, found, config)
        names = _names(found.names)
        image = await asyncio.to_thread(self._stored, found, config)
        self._parts.store.put(image, names)
        for name in names:
            emit(Progress(stream=f"Loaded image: {name.familiar}\n"))
            self._parts.publish("load", image.id, name.familiar)
        if not names:
            emit(Progress(stream=f"Loaded image ID: {image.id}\n"))
            self._parts.publish("load", image.id, image.id)

    async def _store_layers(
        self, members: Members, found: LayoutImage, config: ImageConfig
    ) -> None:
        if len(found.layers) != len(config.diff_ids):
            raise DataCorrupt(
                f"the archive has {len(found.layers)} layers for an image of"
                f" {len(config.diff_ids)}: refused"
            )
        for path, diff_id in zip(found.layers, config.diff_ids, strict=True):
            place = members.find(path)
            if place in members.layers:
                if members.layers[place].diff_id != diff_id:
                    raise DataCorrupt(f"the archive's {path[:100]} is not the layer {diff_id}")
            elif place in members.blobs:
                await self._unpack(members.blobs[place], diff_id)
            else:
                raise InvalidParameter(f"the archive lacks {path[:100]}, the layer {diff_id}")

    async def _unpack(self, blob: str, diff_id: str) -> None:
        if self._parts.snapshots.has_layer(diff_id):
            return
        with self._parts.content.open(blob) as file:
            await self._parts.ingest(file.fileno(), diff_id)

    def _stored(self, found: LayoutImage, config: ImageConfig) -> StoredImage:
        content = self._parts.content
        keep = self._parts.settings.keep_blobs and all(map(content.has, found.blobs))
        return StoredImage(
            id=content.put(found.config),
            layers=config.diff_ids,
            created_at=config.created_at,
            size=sum(self._parts.snapshots.layer(layer).size for layer in config.diff_ids),
            manifest=content.put(found.manifest) if keep and found.manifest else "",
            blobs=found.blobs if keep and found.manifest else (),
        )


def _images(members: Members, platform: str) -> list[LayoutImage]:
    """The images of an archive; raises ``InvalidParameter`` when it is none, ``NotFound`` when one
    of them is not for ``platform`` ("" = this machine's, or whatever there is)."""
    found = _of_archive(members, platforms.parse(platform) if platform else platforms.host())
    for image in found:
        name = image.names[0] if image.names else digests.of(image.config)
        check_platform(name, images.decode(image.config).platform, platform)
    return found


def _of_archive(members: Members, wanted: Platform) -> list[LayoutImage]:
    docker = members.document("manifest.json")
    if docker is not None:
        layout = _layout_if_good(members, wanted)
        if any(image.of_index for image in layout):  # manifest.json knows one platform only
            return layout
        return [_with_manifest(item, layout) for item in _docker_images(members, docker)]
    if layout := images_of_layout(members, wanted):
        return layout
    if members.document("repositories") is not None:
        raise InvalidParameter(
            "the archive has the form of before Docker 1.10, which is not supported:"
            " save it again with a current version"
        )
    raise InvalidParameter(
        "the archive is no image: it has neither a manifest.json nor an index.json"
        " (use import for a root file system)"
    )


def _layout_if_good(members: Members, wanted: Platform) -> list[LayoutImage]:
    """The layout beside a ``manifest.json``: it adds manifests, and may be left out."""
    try:
        return images_of_layout(members, wanted)
    except KetchError:
        return []


def _docker_images(members: Members, document: bytes) -> list[LayoutImage]:
    strictjson.check(document, "manifest.json")
    try:
        items = msgspec.json.decode(document, type=list[_DockerImage])
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataCorrupt(f"malformed manifest.json: {error}") from None
    found = []
    for item in items:
        config = members.document(item.config)
        if config is None:
            raise InvalidParameter(f"the archive lacks {item.config[:100]!r}")
        layers = tuple(item.layers or ())
        found.append(LayoutImage(config, layers, tuple(item.repo_tags or ())))
    return found


def _with_manifest(image: LayoutImage, layout: list[LayoutImage]) -> LayoutImage:
    """With the manifest that the same archive has for the same configuration."""
    for other in layout:
        if other.config == image.config:
            return msgspec.structs.replace(image, manifest=other.manifest, blobs=other.blobs)
    return image


def _names(texts: tuple[str, ...]) -> list[Reference]:
    """References of an archive; raises ``InvalidParameter`` for what is none."""
    found = []
    for text in texts:
        try:
            name = references.parse(text).tagged()
        except KetchError as error:
            raise InvalidParameter(f"the archive names an image {text[:100]!r}: {error}") from None
        found.append(name if not name.digest else name.with_digest(name.digest))
    return list(dict.fromkeys(found))
