"""Images as trees of documents and blobs, made of layers that are stored: for builds' outputs.

A tree is one manifest, or an index over several with what is attached to them. It can be written
into an archive (OCI layout, Docker's form), pushed, or kept in the content store.
"""

from __future__ import annotations

import io
from collections.abc import Mapping, Sequence
from typing import TYPE_CHECKING, BinaryIO

import msgspec

from ketch.engine.images.manifests import Piece, compressed_into
from ketch.oci import manifest as manifests
from ketch.oci import media_types
from ketch.oci.descriptor import Descriptor
from ketch.oci.digest import of
from ketch.oci.manifest import Index, Manifest
from ketch.oci.platform import Platform

if TYPE_CHECKING:
    from ketch.engine.images.parts import ImageParts
    from ketch.state.leases import Lease

NONE, GZIP, ZSTD = "none", "gzip", "zstd"
_OCI_LAYERS = {
    NONE: media_types.OCI_LAYER,
    GZIP: media_types.OCI_LAYER_GZIP,
    ZSTD: media_types.OCI_LAYER_ZSTD,
}
_DOCKER_LAYERS = {NONE: media_types.DOCKER_LAYER, GZIP: media_types.DOCKER_LAYER_GZIP}


class Form(msgspec.Struct, frozen=True):
    """How layers are written: ``none``, ``gzip`` or ``zstd``, with a level (None: the default).

    Layers that came compressed stay as they are, unless ``recompress``. ``oci`` chooses the media
    types: OCI's or Docker's, which know no zstd.
    """

    compression: str = GZIP
    level: int | None = None
    recompress: bool = False
    oci: bool = True


class TreeImage(msgspec.Struct, frozen=True, kw_only=True):
    """One image of a tree; annotations are those of its manifest and of its descriptor."""

    config: bytes
    layers: tuple[str, ...]
    platform: Platform
    annotations: Mapping[str, str] = {}
    described: Mapping[str, str] = {}


class ImageTree(msgspec.Struct, frozen=True):
    """``root`` describes the document on top; ``documents`` come children first, the root last;
    ``pieces`` are layers and configurations. ``manifests`` are those of the images, in order."""

    root: Descriptor
    documents: tuple[tuple[Descriptor, bytes], ...]
    pieces: tuple[Piece, ...]
    manifests: tuple[Manifest, ...]

    def digests(self) -> set[str]:
        """Of everything."""
        return {d.digest for d, _ in self.documents} | {p.descriptor.digest for p in self.pieces}


class TreeMaker:
    """Makes trees. Blocks on the disk; what it stores is leased at once."""

    def __init__(self, parts: ImageParts, form: Form, lease: Lease) -> None:
        self._parts = parts
        self._lease = lease
        self._form = form
        self._known: dict[str, Descriptor] = {}
        if not form.recompress:
            self._known = known_layers(parts)

    def image(self, image: TreeImage) -> ImageTree:
        """A tree of one manifest."""
        layers = [self.layer(diff_id) for diff_id in image.layers]
        config = data_piece(
            media_types.OCI_CONFIG if self._form.oci else media_types.DOCKER_CONFIG, image.config
        )
        kind = media_types.OCI_MANIFEST if self._form.oci else media_types.DOCKER_MANIFEST
        manifest = Manifest(
            schema_version=2,
            media_type=kind,
            config=config.descriptor,
            layers=[layer.descriptor for layer in layers],
            annotations=dict(image.annotations) or None,
        )
        data = msgspec.json.encode(manifest)
        root = Descriptor(
            media_type=kind,
            digest=of(data),
            size=len(data),
            annotations=dict(image.described) or None,
            platform=image.platform,
        )
        return ImageTree(root, ((root, data),), (*layers, config), (manifest,))

    def layer(self, diff_id: str) -> Piece:
        """A layer as the form wants it."""
        known = self._known.get(diff_id)
        if known is not None and (self._form.oci or known.media_type.endswith("gzip")):
            content = self._parts.content
            kind = known.media_type
            typed = msgspec.structs.replace(known, media_type=_typed(kind, self._form.oci))
            return Piece(typed, lambda: content.open(known.digest))
        if self._form.compression == NONE:
            snapshots = self._parts.snapshots
            size = snapshots.layer(diff_id).tar_size
            described = Descriptor(media_type=self._kind(), digest=diff_id, size=size)
            return Piece(described, lambda: snapshots.open_tar(diff_id))
        return self._compressed(diff_id)

    def _compressed(self, diff_id: str) -> Piece:
        content = self._parts.content
        with self._parts.snapshots.open_tar(diff_id) as tar:
            digest = compressed_into(content, tar, self._form.compression, self._form.level)
        self._lease.add(digest)
        described = Descriptor(media_type=self._kind(), digest=digest, size=content.size(digest))
        return Piece(described, lambda: content.open(digest))

    def _kind(self) -> str:
        return layer_type(self._form.compression, oci=self._form.oci)


def layer_type(compression: str, *, oci: bool = True) -> str:
    """The media type of a layer."""
    return (_OCI_LAYERS if oci else _DOCKER_LAYERS)[compression]


def joined(
    trees: Sequence[ImageTree], annotations: Mapping[str, str], *, oci: bool = True
) -> ImageTree:
    """An index over trees of one document each."""
    kind = media_types.OCI_INDEX if oci else media_types.DOCKER_INDEX
    index = Index(
        schema_version=2,
        media_type=kind,
        manifests=[tree.root for tree in trees],
        annotations=dict(annotations) or None,
    )
    data = msgspec.json.encode(index)
    root = Descriptor(media_type=kind, digest=of(data), size=len(data))
    return ImageTree(
        root,
        (*(document for tree in trees for document in tree.documents), (root, data)),
        tuple(piece for tree in trees for piece in tree.pieces),
        tuple(manifest for tree in trees for manifest in tree.manifests),
    )


def data_piece(media_type: str, data: bytes, annotations: Mapping[str, str] | None = None) -> Piece:
    """A blob from memory."""
    described = Descriptor(
        media_type=media_type,
        digest=of(data),
        size=len(data),
        annotations=dict(annotations) if annotations else None,
    )
    return Piece(described, lambda: _file(data))


def _file(data: bytes) -> BinaryIO:
    return io.BytesIO(data)


def known_layers(parts: ImageParts) -> dict[str, Descriptor]:
    """Layers that are stored as the blobs that a registry gave, by diff ID."""
    found: dict[str, Descriptor] = {}
    for image in parts.store:
        if not image.manifest or not all(map(parts.content.has, (image.manifest, *image.blobs))):
            continue
        manifest = manifests.decode(parts.content.read(image.manifest))
        if isinstance(manifest, Manifest) and len(manifest.layers) == len(image.layers):
            found.update(zip(image.layers, manifest.layers, strict=True))
    return found


def _typed(kind: str, oci: bool) -> str:
    """The media type in the other family."""
    return layer_type(next((c for c in (GZIP, ZSTD) if kind.endswith(c)), NONE), oci=oci)
