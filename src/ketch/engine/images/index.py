"""An index that a name stands for: several platforms of one image, and what is attached to them.

Not all that an index names needs to be here: a pull brings the image of one platform. What is here
is an image of its own, made of layers like any other; the name leads to the best of them for this
machine, and asking for a platform leads to another one.
"""

from __future__ import annotations

import msgspec

from ketch.oci import media_types
from ketch.oci import platform as platforms
from ketch.oci.descriptor import Descriptor
from ketch.oci.platform import Platform


class IndexImage(msgspec.Struct, frozen=True, kw_only=True):
    """An image of an index that is here: its ID, the digest of its manifest, what the index says of
    its platform."""

    id: str
    manifest: str
    platform: Platform


class StoredIndex(msgspec.Struct, frozen=True, kw_only=True):
    """What is here of an index.

    ``documents`` are manifests, children first, the index last, all stored; ``blobs`` what they
    name: stored, or (uncompressed) the tar of one of the ``layers``, which are diff IDs.
    """

    documents: tuple[Descriptor, ...]
    blobs: tuple[Descriptor, ...]
    layers: tuple[str, ...]
    images: tuple[IndexImage, ...] = ()

    @property
    def root(self) -> Descriptor:
        """The index itself."""
        return self.documents[-1]

    @property
    def digests(self) -> tuple[str, ...]:
        """Of all documents and blobs."""
        return tuple(d.digest for d in (*self.documents, *self.blobs))

    def best(self, wanted: Platform) -> IndexImage | None:
        """The image for a platform; None when no image that is here fits."""
        at = platforms.choose([image.platform for image in self.images], wanted)
        return None if at is None else self.images[at]

    @property
    def primary(self) -> str:
        """The ID that names of the index lead to: the best for this machine, or the first; "" when
        no image is here."""
        best = self.best(platforms.host()) or next(iter(self.images), None)
        return best.id if best else ""


def merged(old: StoredIndex | None, new: StoredIndex) -> StoredIndex:
    """All that is here of one index after more of it came."""
    if old is None or old.root.digest != new.root.digest:
        return new
    documents = _once((*old.documents[:-1], *new.documents[:-1]))
    children = [d for d in documents if d.media_type not in media_types.INDEXES]
    inner = [d for d in documents if d.media_type in media_types.INDEXES]
    images = {image.manifest: image for image in (*old.images, *new.images)}
    return StoredIndex(
        documents=(*children, *inner, new.root),
        blobs=tuple(_once((*old.blobs, *new.blobs))),
        layers=tuple(dict.fromkeys((*old.layers, *new.layers))),
        images=tuple(images.values()),
    )


def _once(descriptors: tuple[Descriptor, ...]) -> list[Descriptor]:
    return list({described.digest: described for described in descriptors}.values())
