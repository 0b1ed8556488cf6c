"""OCI image layouts (image-spec image-layout.md): which images they hold, under which names."""

from __future__ import annotations

from collections.abc import Iterator

import msgspec

from ketch.engine.images.archive import Members
from ketch.engine.images.platform import chosen
from ketch.errors import DataCorrupt, InvalidParameter
from ketch.oci import image as images
from ketch.oci import manifest as manifests
from ketch.oci import media_types
from ketch.oci.descriptor import Descriptor
from ketch.oci.digest import algorithm_of, hex_of
from ketch.oci.manifest import Index, Manifest
from ketch.oci.platform import Platform

REF_NAME = "org.opencontainers.image.ref.name"
IMAGE_NAME = "io.containerd.image.name"
_DEEPEST = 3


class LayoutImage(msgspec.Struct, frozen=True):
    """One image of an archive: its configuration, its layers' paths (base first), its names.

    ``manifest`` is the manifest byte for byte if it has one, with the ``blobs`` it names.
    """

    config: bytes
    layers: tuple[str, ...]
    names: tuple[str, ...] = ()
    manifest: bytes = b""
    blobs: tuple[Descriptor, ...] = ()


class LayoutIndex(msgspec.Struct, frozen=True):
    """An index of an archive, as far as the archive has it: ``images`` by what the index says of
    them; ``documents`` children first, the index last; ``attached`` are small blobs that manifests
    name which are no images."""

    documents: tuple[tuple[Descriptor, bytes], ...]
    images: tuple[tuple[Descriptor, LayoutImage], ...]
    attached: tuple[Descriptor, ...]
    names: tuple[str, ...] = ()


def blob_path(digest: str) -> str:
    """Where a layout keeps a blob."""
    return f"blobs/{algorithm_of(digest)}/{hex_of(digest)}"


def images_of_layout(members: Members, wanted: str) -> list[LayoutImage | LayoutIndex]:
    """What the layout's index names; none when it is no layout.

    ``wanted`` is the platform of the images that count in an index inside ("" = all). Descriptors
    of one manifest under several names make one image. Raises ``NotFound`` when an index has none
    for the platform.
    """
    document = members.document("index.json")
    if document is None:
        return []
    index = manifests.decode(document)
    if not isinstance(index, Index):
        raise DataCorrupt("the archive's index.json is no index")
    found: dict[str, LayoutImage | LayoutIndex] = {}
    for descriptor in index.manifests:
        known = found.get(descriptor.digest) or _found(members, descriptor, wanted)
        names = dict.fromkeys((*known.names, *_names(descriptor)))
        found[descriptor.digest] = msgspec.structs.replace(known, names=tuple(names))
    return list(found.values())


def _found(members: Members, descriptor: Descriptor, wanted: str) -> LayoutImage | LayoutIndex:
    data = _document(members, descriptor)
    if data is None:
        raise InvalidParameter(f"the archive lacks the manifest {descriptor.digest}")
    document = manifests.decode(data, descriptor.media_type)
    if isinstance(document, Manifest):
        return _image(members, data, document)
    plain = msgspec.structs.replace(descriptor, annotations=None)
    collecting = _Collecting(members)
    collecting.index(plain, data, document, 0)
    return collecting.result(wanted, next(_names(descriptor), descriptor.digest))


class _Collecting:
    """What an archive has of an index. Each document counts once, so that indexes in indexes cannot
    make more work than the archive is long."""

    def __init__(self, members: Members) -> None:
        self._members = members
        self._seen: set[str] = set()
        self._manifests: list[tuple[Descriptor, bytes]] = []
        self._indexes: list[tuple[Descriptor, bytes]] = []
        self._images: list[tuple[Descriptor, LayoutImage]] = []
        self._attached: dict[str, Descriptor] = {}
        self._lacking = "the archive has an index without its manifests"

    def index(self, descriptor: Descriptor, data: bytes, index: Index, depth: int) -> None:
        """Take an index and what it names."""
        if depth > _DEEPEST:
            raise DataCorrupt("the archive's indexes are nested too deep")
        for entry in index.manifests:
            if entry.digest not in self._seen:
                self._seen.add(entry.digest)
                self._entry(entry, depth)
        self._indexes.append((descriptor, data))

    def _entry(self, entry: Descriptor, depth: int) -> None:
        data = _document(self._members, entry)
        if data is None:
            return
        if entry.media_type in media_types.INDEXES:
            document = manifests.decode(data, entry.media_type)
            assert isinstance(document, Index)
            self.index(entry, data, document, depth + 1)
        elif is_image(entry):
            self._image(entry, data)
        else:
            self._artifact(entry, data)

    def _image(self, entry: Descriptor, data: bytes) -> None:
        manifest = manifests.decode(data, entry.media_type)
        if not isinstance(manifest, Manifest):
            raise DataCorrupt(f"the archive's {entry.digest} is no manifest of an image")
        try:
            image = _image(self._members, data, manifest)
        except InvalidParameter as error:  # of another platform than was saved
            self._lacking = str(error)
            return
        lacking = [path for path in image.layers if path not in self._members]
        if lacking:
            self._lacking = f"the archive lacks {lacking[0]}"
            return
        self._manifests.append((entry, data))
        self._images.append((entry, image))

    def _artifact(self, entry: Descriptor, data: bytes) -> None:
        manifest = manifests.decode_attached(data)
        blobs = [manifest.config, *manifest.layers]
        if all(blob_path(blob.digest) in self._members for blob in blobs):
            self._manifests.append((entry, data))
            self._attached.update({blob.digest: blob for blob in blobs})

    def result(self, wanted: str, name: str) -> LayoutIndex:
        """All of it, or the one image that was ``wanted``."""
        if not self._images:
            raise InvalidParameter(self._lacking)
        images = self._images
        if wanted:
            offered = [_platform(entry, image) for entry, image in images]
            images = [images[chosen(name, offered, wanted)]]
        left = {entry.digest for entry, _ in self._images} - {entry.digest for entry, _ in images}
        children = [each for each in self._manifests if each[0].digest not in left]
        return LayoutIndex(
            (*children, *self._indexes), tuple(images), tuple(self._attached.values())
        )


def _platform(entry: Descriptor, image: LayoutImage) -> Platform:
    return entry.platform or images.decode(image.config).platform


def is_image(entry: Descriptor) -> bool:
    """Whether what an index names is an image, and not something that is attached to one."""
    platform = entry.platform
    return platform is None or "unknown" not in (platform.os, platform.architecture)


def _document(members: Members, descriptor: Descriptor) -> bytes | None:
    data = members.document(blob_path(descriptor.digest))
    if data is not None and len(data) != descriptor.size:
        raise DataCorrupt(f"the manifest {descriptor.digest} has another size than announced")
    return data


def _image(members: Members, data: bytes, manifest: Manifest) -> LayoutImage:
    config = members.document(blob_path(manifest.config.digest))
    if config is None:
        raise InvalidParameter(f"the archive lacks the configuration {manifest.config.digest}")
    return LayoutImage(
        config,
        tuple(blob_path(layer.digest) for layer in manifest.layers),
        (),
        data,
        tuple(manifest.layers),
    )


def _names(descriptor: Descriptor) -> Iterator[str]:
    annotations = descriptor.annotations or {}
    name = annotations.get(IMAGE_NAME) or annotations.get(REF_NAME, "")
    if ":" in name or "/" in name:  # a bare tag names nothing
        yield name
