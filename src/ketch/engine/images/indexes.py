"""Looking into indexes that are stored: the image for a platform, what is here and what is not."""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.images.configs import Configs
from ketch.engine.images.index import StoredIndex
from ketch.engine.images.manifests import Assembler, Piece
from ketch.engine.images.platform import chosen
from ketch.engine.images.store import StoredImage
from ketch.engine.images.tree import ImageTree
from ketch.engine.images.values import ATTESTATION, IMAGE, UNKNOWN, ManifestFacts, Manifests
from ketch.oci import manifest as manifests
from ketch.oci import media_types
from ketch.oci.descriptor import Descriptor
from ketch.oci.manifest import Index, Manifest
from ketch.oci.platform import Platform

if TYPE_CHECKING:
    from ketch.engine.images.parts import ImageParts

REFERENCE_TYPE = "vnd.docker.reference.type"
REFERENCE_DIGEST = "vnd.docker.reference.digest"
ATTESTATION_MANIFEST = "attestation-manifest"
Users = Mapping[str, Sequence[str]]


class Indexes:
    """See the module's docstring. Reads small files."""

    def __init__(self, parts: ImageParts, configs: Configs, assembler: Assembler) -> None:
        self._parts = parts
        self._configs = configs
        self._assembler = assembler

    def image(self, ref: str, platform: str = "") -> StoredImage:
        """The image of a ref for a platform ("" = what the ref leads to); raises ``NotFound``."""
        store = self._parts.store
        image = store.resolve(ref)
        if not platform:
            return image
        index = store.index_of(ref, image)
        offered = [(each.platform, each.id) for each in index.images] if index else []
        offered = offered or [(self._configs.get(image.id).platform, image.id)]
        at = chosen(ref, [has for has, _ in offered], platform)
        return store.get(offered[at][1])

    def tree(self, index: StoredIndex) -> ImageTree:
        """All of an index that is here."""
        content = self._parts.content
        documents = tuple((each, content.read(each.digest)) for each in index.documents)
        known = {blob.digest for blob in index.blobs}
        named = [blob for each in index.documents for blob in self._blobs(index, each)]
        pieces = tuple(self._piece(index, blob) for blob in named if blob.digest in known)
        return ImageTree(index.root, documents, pieces, ())

    def _blobs(self, index: StoredIndex, document: Descriptor) -> list[Descriptor]:
        """What a manifest that is here names."""
        if document.media_type in media_types.INDEXES:
            return []
        manifest = self._manifest(index, document)
        return [*manifest.layers, manifest.config] if manifest else []

    def _piece(self, index: StoredIndex, described: Descriptor) -> Piece:
        content, snapshots = self._parts.content, self._parts.snapshots
        if described.digest in index.layers:
            return Piece(described, lambda: snapshots.open_tar(described.digest))
        return Piece(described, lambda: content.open(described.digest))

    def is_whole(self, index: StoredIndex) -> bool:
        """Whether everything that the index names is here, so that it can be pushed as it is."""
        entries = list(self._entries(index))
        return all(self._has(index, described) for described in entries) and all(
            self._has_blob(index, blob.digest) for blob in index.blobs
        )

    def _has(self, index: StoredIndex, described: Descriptor) -> bool:
        known = {blob.digest for blob in index.blobs}
        blobs = self._blobs(index, described)
        return bool(blobs) and known.issuperset(blob.digest for blob in blobs)

    def _has_blob(self, index: StoredIndex, digest: str) -> bool:
        if digest in index.layers:
            return self._parts.snapshots.has_layer(digest)
        return self._parts.content.has(digest)

    def without(self, index: StoredIndex, gone: set[str]) -> StoredIndex:
        """What is left of an index when images of it go; ``gone`` are their IDs, and not all."""
        images = tuple(image for image in index.images if image.id not in gone)
        doomed = {image.manifest for image in index.images} - {image.manifest for image in images}
        documents = tuple(each for each in index.documents if each.digest not in doomed)
        left = msgspec.structs.replace(index, documents=documents, images=images)
        named = {blob.digest for each in documents for blob in self._blobs(left, each)}
        layers = (layer for image in images for layer in self._parts.store.get(image.id).layers)
        return msgspec.structs.replace(
            left,
            blobs=tuple(blob for blob in index.blobs if blob.digest in named),
            layers=tuple(dict.fromkeys(layers)),
        )

    def _entries(self, index: StoredIndex) -> Iterator[Descriptor]:
        """What the index and those in it name, but for indexes that are here."""
        here = {described.digest: described for described in index.documents}
        for described in index.documents:
            if described.media_type not in media_types.INDEXES:
                continue
            document = manifests.decode(self._parts.content.read(described.digest))
            assert isinstance(document, Index)
            for entry in document.manifests:
                if entry.media_type not in media_types.INDEXES or entry.digest not in here:
                    yield entry

    def _manifest(self, index: StoredIndex, described: Descriptor) -> Manifest | None:
        if all(described.digest != known.digest for known in index.documents):
            return None
        return manifests.decode_attached(self._parts.content.read(described.digest))

    def told(
        self, image: StoredImage, index: StoredIndex | None, users: Users, *, alone: bool = False
    ) -> Manifests | None:
        """About all that an index names, or ``alone`` about the one image of it; without an index
        about the manifest that the image came with, if it did. ``users`` are IDs of containers by
        the image's."""
        if index is None:
            facts = self._assembler.facts(image)
            entries = [facts] if facts else []
        else:
            entries = [self._facts(index, described) for described in self._entries(index)]
        if alone:
            entries = [facts for facts in entries if facts.image_id == image.id][:1]
        if not entries:
            return None
        target = entries[0].descriptor if index is None or alone else index.root
        used = tuple(
            msgspec.structs.replace(facts, containers=tuple(users.get(facts.image_id, ())))
            for facts in entries
        )
        return Manifests(target=target, entries=used)

    def _facts(self, index: StoredIndex, described: Descriptor) -> ManifestFacts:
        blobs, has = self._blobs(index, described), self._parts.content.has
        stored = sum(blob.size for blob in blobs if has(blob.digest))
        image_id = next((i.id for i in index.images if i.manifest == described.digest), "")
        attests = (described.annotations or {}).get(REFERENCE_TYPE) == ATTESTATION_MANIFEST
        plain = msgspec.structs.replace(described, urls=None)
        platform = described.platform or Platform()
        if image_id and described.platform is None:
            platform = self._configs.get(image_id).platform
        return ManifestFacts(
            descriptor=plain,
            kind=ATTESTATION if attests else _kind(image_id, platform),
            platform=platform,
            content_size=stored + (described.size if blobs else 0),
            available=bool(image_id)  # layers that were here already are not fetched as blobs again
            or (bool(blobs) and all(self._has_blob(index, blob.digest) for blob in blobs)),
            image_id=image_id,
            size=self._parts.store.get(image_id).size if image_id else 0,
            about=(described.annotations or {}).get(REFERENCE_DIGEST, "") if attests else "",
        )


def _kind(image_id: str, platform: Platform) -> str:
    known = platform.os not in ("", "unknown") and platform.architecture not in ("", "unknown")
    return IMAGE if image_id or known else UNKNOWN
