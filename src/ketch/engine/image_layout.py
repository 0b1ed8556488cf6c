"""OCI image layouts (image-spec image-layout.md): which images they hold, under which names."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ketch.engine.image_archive import Members
from ketch.errors import DataCorrupt, InvalidParameter
from ketch.oci import manifest as manifests
from ketch.oci import platform
from ketch.oci.descriptor import Descriptor
from ketch.oci.digest import algorithm_of, hex_of
from ketch.oci.manifest import Index, Manifest
from ketch.oci.platform import Platform

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
_DEEPEST = 3


class LayoutImage(msgspec.Struct, frozen=True):
    """One image of an archive: its configuration, its layers' paths (base first), its names.

    ``manifest`` is the manifest byte for byte if it has one, with the ``blobs`` it names;
    ``of_index`` when it is one of several platforms.
    """

    config: bytes
    layers: tuple[str, ...]
    names: tuple[str, ...] = ()
    manifest: bytes = b""
    blobs: tuple[str, ...] = ()
    of_index: bool = False


def blob_path(digest: str) -> str:
    """Where a layout keeps a blob."""
    return f"blobs/{algorithm_of(digest)}/{hex_of(digest)}"


def images_of_layout(members: Members, wanted: Platform) -> list[LayoutImage]:
    """The images of the layout's index; none when it is no layout.

    Of an index inside, the image for ``wanted`` counts, or the first that is there. Descriptors of
    one manifest under several names make one image.
    """
    document = members.document("index.json")
    if document is None:
        return []
    index = manifests.decode(document)
    if not isinstance(index, Index):
        raise DataCorrupt("the archive's index.json is no index")
    found: dict[str, LayoutImage] = {}
    for descriptor in index.manifests:
        for image in _images(members, descriptor, wanted, 0):
            known = found.get(descriptor.digest, image)
            names = dict.fromkeys((*known.names, *_names(descriptor)))
            found[descriptor.digest] = msgspec.structs.replace(image, names=tuple(names))
    return list(found.values())


def _images(
    members: Members, descriptor: Descriptor, wanted: Platform, depth: int
) -> Iterator[LayoutImage]:
    data = members.document(blob_path(descriptor.digest))
    if data is None:
        raise InvalidParameter(f"the archive lacks the manifest {descriptor.digest}")
    if len(data) != descriptor.size:
        raise DataCorrupt(f"the manifest {descriptor.digest} has another size than announced")
    document = manifests.decode(data, descriptor.media_type)
    if isinstance(document, Manifest):
        yield _image(members, data, document)
    elif depth < _DEEPEST:
        for image in _images(members, _chosen(members, document, wanted), wanted, depth + 1):
            yield msgspec.structs.replace(image, of_index=True)
    else:
        raise DataCorrupt("the archive's indexes are nested too deep")


def _chosen(members: Members, index: Index, wanted: Platform) -> Descriptor:
    there = [entry for entry in index.manifests if blob_path(entry.digest) in members]
    if not there:
        raise InvalidParameter("the archive has an index without its manifests")
    at = platform.choose([entry.platform for entry in there], wanted)
    return there[at or 0]


def _image(members: Members, data: bytes, manifest: Manifest) -> LayoutImage:
    config = members.document(blob_path(manifest.config.digest))
    if config is None:
        raise InvalidParameter(f"the archive lacks the configuration {manifest.config.digest}")
    return LayoutImage(
        config,
        tuple(blob_path(layer.digest) for layer in manifest.layers),
        (),
        data,
        tuple(layer.digest for layer in manifest.layers),
    )


def _names(descriptor: Descriptor) -> Iterator[str]:
    annotations = descriptor.annotations or {}
    name = annotations.get(IMAGE_NAME) or annotations.get(REF_NAME, "")
    if ":" in name or "/" in name:  # a bare tag names nothing
        yield name
