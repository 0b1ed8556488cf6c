"""The manifest of an image: the one that it came with, or one made from the layer store."""

from __future__ import annotations

from collections.abc import Callable
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from ketch.engine.images.configs import Configs
from ketch.engine.images.store import StoredImage
from ketch.engine.images.values import ManifestFacts
from ketch.layers.compression import compress
from ketch.oci import manifest as manifests
from ketch.oci import media_types
from ketch.oci.descriptor import Descriptor
from ketch.oci.digest import of
from ketch.oci.manifest import Manifest
from ketch.oci.platform import Platform

if TYPE_CHECKING:
    from ketch.content.store import ContentStore
    from ketch.engine.images.parts import ImageParts


class Piece(msgspec.Struct, frozen=True):
    """A blob that can be read: in the content store, or as the raw tar of a layer."""

    descriptor: Descriptor
    open: Callable[[], BinaryIO]


class Assembled(msgspec.Struct, frozen=True):
    """An image as documents and blobs; ``layers`` base first."""

    manifest_blob: bytes
    manifest: Manifest
    config_blob: bytes
    layers: tuple[Piece, ...]

    @property
    def digest(self) -> str:
        """The manifest's digest."""
        return of(self.manifest_blob)


class Assembler:
    """Puts images together for save and push. Blocks on the disk."""

    def __init__(self, parts: ImageParts, configs: Configs) -> None:
        self._parts = parts
        self._configs = configs

    def as_it_came(self, image: StoredImage) -> Assembled | None:
        """With the manifest and the layers, as they were, that it came with, if all are there."""
        content = self._parts.content
        if not image.manifest or not content.has(image.manifest):
            return None
        if not all(blob in image.layers or content.has(blob) for blob in image.blobs):
            return None
        blob = content.read(image.manifest)
        manifest = manifests.decode(blob)
        if not isinstance(manifest, Manifest):
            return None
        layers = tuple(
            self._tar(layer.digest, layer) if layer.digest in image.layers else self._stored(layer)
            for layer in manifest.layers
        )
        return Assembled(blob, manifest, self._configs.blob(image.id), layers)

    def platform(self, image: StoredImage) -> Platform:
        """What the image runs on."""
        return self._configs.get(image.id).platform

    def facts(self, image: StoredImage) -> ManifestFacts | None:
        """About the manifest that the image came with; None without one."""
        content = self._parts.content
        if not image.manifest or not content.has(image.manifest):
            return None
        blob = content.read(image.manifest)
        manifest = manifests.decode(blob)
        if not isinstance(manifest, Manifest):
            return None
        parts = [manifest.config, *manifest.layers]
        there = [part for part in parts if content.has(part.digest)]
        return ManifestFacts(
            descriptor=Descriptor(
                media_type=manifest.media_type or media_types.OCI_MANIFEST,
                digest=image.manifest,
                size=len(blob),
            ),
            platform=self._configs.get(image.id).platform,
            content_size=len(blob) + sum(part.size for part in there),
            available=True,  # a layer that was here already is not fetched as a blob again
            image_id=image.id,
            size=image.size,
        )

    def raw(self, image: StoredImage) -> Assembled:
        """With uncompressed layers, which need no work."""
        layers = tuple(self._tar(diff_id) for diff_id in image.layers)
        return self._made(image, layers)

    def compressed(self, image: StoredImage) -> Assembled:
        """With layers compressed by gzip into the content store, for a registry."""
        layers = tuple(self._compress(diff_id) for diff_id in image.layers)
        return self._made(image, layers)

    def _stored(self, descriptor: Descriptor) -> Piece:
        return Piece(descriptor, lambda: self._parts.content.open(descriptor.digest))

    def _tar(self, diff_id: str, known: Descriptor | None = None) -> Piece:
        snapshots = self._parts.snapshots
        descriptor = known or Descriptor(
            media_type=media_types.OCI_LAYER,
            digest=diff_id,
            size=snapshots.layer(diff_id).tar_size,
        )
        return Piece(descriptor, lambda: snapshots.open_tar(diff_id))

    def _compress(self, diff_id: str) -> Piece:
        content = self._parts.content
        with self._parts.snapshots.open_tar(diff_id) as tar:
            digest = compressed_into(content, tar)
        return self._stored(
            Descriptor(
                media_type=media_types.OCI_LAYER_GZIP, digest=digest, size=content.size(digest)
            )
        )

    def _made(self, image: StoredImage, layers: tuple[Piece, ...]) -> Assembled:
        config = self._configs.blob(image.id)
        manifest = Manifest(
            schema_version=2,
            media_type=media_types.OCI_MANIFEST,
            config=Descriptor(media_type=media_types.OCI_CONFIG, digest=image.id, size=len(config)),
            layers=[layer.descriptor for layer in layers],
        )
        return Assembled(msgspec.json.encode(manifest), manifest, config, layers)


def compressed_into(
    content: ContentStore, tar: BinaryIO, kind: str = "gzip", level: int | None = None
) -> str:
    """Compress a layer's tar into the content store; the blob's digest."""
    with content.ingest() as ingest:
        compress(tar, _Writer(ingest.write), kind, level)  # type: ignore[arg-type]
        return ingest.commit()


class _Writer:
    """The part of a file that a compressor writes to."""

    def __init__(self, write: Callable[[bytes], None]) -> None:
        self._write = write

    def write(self, data: bytes) -> int:
        self._write(data)
        return len(data)

    def flush(self) -> None:
        """Nothing is kept back."""
