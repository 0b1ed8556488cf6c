"""Loading archives: Docker's (old and new form) and OCI layouts.

Documents are trusted with nothing: every layer must have the diff ID that the image configuration
names at its place, every blob the digest of its name. The image is recorded only then.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import AsyncIterator, Sequence

import msgspec

from ketch.engine.images.archive import ArchiveReader, Members
from ketch.engine.images.gc import Collector
from ketch.engine.images.index import IndexImage, StoredIndex
from ketch.engine.images.layout import LayoutImage, LayoutIndex, blob_path, images_of_layout
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.platform import chosen
from ketch.engine.images.store import StoredImage
from ketch.engine.pipes import fed
from ketch.engine.progress import Emit, Progress
from ketch.errors import DataCorrupt, InvalidParameter, KetchError, Unsupported
from ketch.oci import digest as digests
from ketch.oci import image as images
from ketch.oci import manifest as manifests
from ketch.oci import reference as references
from ketch.oci import strictjson
from ketch.oci.descriptor import Descriptor
from ketch.oci.image import ImageConfig
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
                    if isinstance(found, LayoutIndex):
                        await self._store_index(members, found, emit)
                    else:
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
        names = _names(found.names)
        image = await self._image(members, found)
        self._parts.store.put(image, names)
        self._tell(image.id, names, emit)

    async def _image(self, members: Members, found: LayoutImage) -> StoredImage:
        config = images.decode(found.config)
        await self._store_layers(members, found, config)
        return await asyncio.to_thread(self._stored, found, config)

    def _tell(self, image_id: str, names: list[Reference], emit: Emit) -> None:
        for name in names:
            emit(Progress(stream=f"Loaded image: {name.familiar}\n"))
            self._parts.publish("load", image_id, name.familiar)
        if not names:
            emit(Progress(stream=f"Loaded image ID: {image_id}\n"))
            self._parts.publish("load", image_id, image_id)

    async def _store_index(self, members: Members, found: LayoutIndex, emit: Emit) -> None:
        names = _names(found.names)
        loaded = [await self._image(members, image) for _, image in found.images]
        index = await asyncio.to_thread(self._index, members, found, loaded)
        first = next(image for image in loaded if image.id == index.primary)
        if names:
            self._parts.store.put(first, names, index, loaded)
        else:  # nothing could name the index
            for image in loaded:
                self._parts.store.put(image)
        self._tell(first.id, names, emit)

    def _index(
        self, members: Members, found: LayoutIndex, loaded: list[StoredImage]
    ) -> StoredIndex:
        content = self._parts.content
        for _, data in found.documents:
            content.put(data)
        for blob in found.attached:
            small = members.document(blob_path(blob.digest))
            if small is not None:
                content.put(small)
            if content.size(blob.digest) != blob.size:
                raise DataCorrupt(f"the archive's {blob.digest} has another size than announced")
        blobs = list(found.attached)
        entries = []
        for (entry, image), stored in zip(found.images, loaded, strict=True):
            platform = entry.platform or images.decode(image.config).platform
            entries.append(IndexImage(id=stored.id, manifest=entry.digest, platform=platform))
            if stored.manifest:
                blobs += [manifests.decode_attached(image.manifest).config, *image.blobs]
        return StoredIndex(
            documents=tuple(described for described, _ in found.documents),
            blobs=tuple({blob.digest: blob for blob in blobs}.values()),
            layers=tuple(dict.fromkeys(layer for image in loaded for layer in image.layers)),
            images=tuple(entries),
        )

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
        keep = bool(found.manifest) and all(self._keeps(blob, config) for blob in found.blobs)
        return StoredImage(
            id=content.put(found.config),
            layers=config.diff_ids,
            created_at=config.created_at,
            size=sum(self._parts.snapshots.layer(layer).size for layer in config.diff_ids),
            manifest=content.put(found.manifest) if keep else "",
            blobs=tuple(blob.digest for blob in found.blobs) if keep else (),
        )

    def _keeps(self, blob: Descriptor, config: ImageConfig) -> bool:
        """Whether a layer can be given again as its manifest has it."""
        content = self._parts.content
        if blob.digest in config.diff_ids:
            size = self._parts.snapshots.layer(blob.digest).tar_size
        elif self._parts.settings.keep_blobs and content.has(blob.digest):
            size = content.size(blob.digest)
        else:
            return False
        if size != blob.size:
            raise DataCorrupt(f"the archive's {blob.digest} has another size than announced")
        return True


def _images(members: Members, platform: str) -> list[LayoutImage | LayoutIndex]:
    """The images of an archive; raises ``InvalidParameter`` when it is none, ``NotFound`` when one
    of them is not for ``platform`` ("" = any)."""
    found = list(_of_archive(members, platform))
    for image in found:
        if platform and isinstance(image, LayoutImage):
            name = image.names[0] if image.names else digests.of(image.config)
            chosen(name, [images.decode(image.config).platform], platform)
    return found


def _of_archive(members: Members, platform: str) -> Sequence[LayoutImage | LayoutIndex]:
    docker = members.document("manifest.json")
    if docker is not None:
        layout = _layout_if_good(members, platform)
        if any(isinstance(found, LayoutIndex) for found in layout):
            return layout  # manifest.json knows one platform only
        return [_with_manifest(item, layout) for item in _docker_images(members, docker)]
    if layout := images_of_layout(members, platform):
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


def _layout_if_good(members: Members, platform: str) -> list[LayoutImage | LayoutIndex]:
    """The layout beside a ``manifest.json``: it adds manifests, and may be left out."""
    try:
        return images_of_layout(members, platform)
    except (DataCorrupt, InvalidParameter, Unsupported):
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


def _with_manifest(image: LayoutImage, layout: Sequence[LayoutImage | LayoutIndex]) -> LayoutImage:
    """With the manifest that the same archive has for the same configuration."""
    for other in layout:
        if isinstance(other, LayoutImage) and other.config == image.config:
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
