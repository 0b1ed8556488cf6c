"""Saving images: one tar that is a Docker archive and an OCI layout at once."""

from __future__ import annotations

import asyncio
import os
import stat
from collections.abc import AsyncIterator, Sequence
from contextlib import ExitStack
from typing import BinaryIO

import msgspec

from ketch.engine.images.index import StoredIndex
from ketch.engine.images.indexes import Indexes
from ketch.engine.images.layout import IMAGE_NAME, REF_NAME, blob_path
from ketch.engine.images.manifests import Assembled, Assembler, Piece
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.store import StoredImage
from ketch.engine.images.tree import ImageTree
from ketch.engine.pipes import drained
from ketch.errors import InvalidParameter
from ketch.layers.entry import Entry
from ketch.layers.tarwrite import BLOCK, headers
from ketch.oci import media_types
from ketch.oci import reference as references
from ketch.oci.descriptor import Descriptor
from ketch.oci.manifest import Index
from ketch.oci.reference import Reference

_PIECE = 1 << 20
LAYOUT = b'{"imageLayoutVersion":"1.0.0"}'


class Item(msgspec.Struct, frozen=True):
    """An image to be saved, its names, and the indexes that stand for it under some of them (None:
    without a name)."""

    image: StoredImage
    names: list[Reference]
    indexes: dict[Reference | None, StoredIndex]


class Whole(msgspec.Struct, frozen=True):
    """An item that can be written."""

    image: Assembled
    item: Item


class Saver:
    """See the module's docstring."""

    def __init__(self, parts: ImageParts, assembler: Assembler, indexes: Indexes) -> None:
        self._parts = parts
        self._assembler = assembler
        self._indexes = indexes

    async def save(self, refs: Sequence[str], platform: str) -> AsyncIterator[bytes]:
        """Look the refs up, and give the archive's bytes; see ``Images.save``."""
        items = self._wanted(refs, platform)
        stack = ExitStack()
        lease = stack.enter_context(self._parts.leases.lease("save"))
        try:
            for item in items:
                image = item.image
                lease.add(image.id, image.manifest, *image.blobs, *image.layers)
                for index in item.indexes.values():
                    lease.add(*index.digests, *index.layers)
            stream = await drained(lambda fd: self._write(fd, items))
        except BaseException:
            stack.close()
            raise
        for item in items:
            self._parts.publish("save", item.image.id, item.image.id)
        return _leased(stream, stack)

    def _wanted(self, refs: Sequence[str], platform: str) -> list[Item]:
        """Images with the names that they are saved under: those that they were asked for by; with
        ``platform`` without the index that they are of."""
        store, wanted = self._parts.store, dict[str, Item]()
        for ref in refs:
            for found, name in self._named(ref):
                image = self._indexes.image(found, platform)
                item = wanted.setdefault(image.id, Item(image, [], {}))
                if name is not None and name not in item.names:
                    item.names.append(name)
                index = store.index_of(found, store.resolve(found))
                if index is not None and not platform:
                    item.indexes[name] = index
        return list(wanted.values())

    def _named(self, ref: str) -> list[tuple[str, Reference | None]]:
        """What one ref means: a name without a tag stands for all tags of its repository."""
        store = self._parts.store
        try:
            name = references.parse(ref)
        except InvalidParameter:
            return [(ref, None)]
        if not name.tag and not name.digest:
            tags = sorted(n for n in store.all_names() if n.tag and n.name == name.name)
            if tags:
                return [(str(tag), tag) for tag in tags]
        plain = name.tag and not name.digest and not store.is_id(ref, store.resolve(ref))
        return [(ref, name if plain else None)]

    async def _write(self, fd: int, items: list[Item]) -> None:
        await asyncio.to_thread(self._write_archive, os.dup(fd), items)

    def _write_archive(self, fd: int, items: list[Item]) -> None:
        with os.fdopen(fd, "wb", buffering=0) as out:
            archive = Archive(out)
            whole = [Whole(self._assembled(item.image), item) for item in items]
            for each in whole:
                archive.image(each.image)
                for index in each.item.indexes.values():
                    archive.tree(self._indexes.tree(index))
            archive.file("oci-layout", LAYOUT)
            archive.file("index.json", _index(whole))
            archive.file("manifest.json", _docker_manifest(whole))
            archive.end()

    def _assembled(self, image: StoredImage) -> Assembled:
        return self._assembler.as_it_came(image) or self._assembler.raw(image)


async def _leased(stream: AsyncIterator[bytes], stack: ExitStack) -> AsyncIterator[bytes]:
    with stack:
        async for piece in stream:
            yield piece


class Archive:
    """Writes members with fixed attributes: the same images give the same bytes."""

    def __init__(self, out: BinaryIO) -> None:
        self._out = out
        self._there: set[str] = set()
        for folder in ("blobs", "blobs/sha256"):
            self._put(headers(Entry(folder.encode(), stat.S_IFDIR | 0o755)))

    def image(self, assembled: Assembled) -> None:
        """All blobs of an image that are not in the archive yet."""
        for layer in assembled.layers:
            self.piece(layer)
        self.file(blob_path(assembled.manifest.config.digest), assembled.config_blob)
        self.file(blob_path(assembled.digest), assembled.manifest_blob)

    def tree(self, tree: ImageTree) -> None:
        """Everything of a tree that is not in the archive yet."""
        for piece in tree.pieces:
            self.piece(piece)
        for described, data in tree.documents:
            self.file(blob_path(described.digest), data)

    def file(self, path: str, data: bytes) -> None:
        """A small member, once."""
        if path not in self._there:
            self._begin(path, len(data))
            self._put(data + bytes(-len(data) % BLOCK))

    def end(self) -> None:
        """Two blocks of zeros."""
        self._put(bytes(2 * BLOCK))

    def piece(self, piece: Piece) -> None:
        """A blob, once."""
        with piece.open() as source:
            self._blob(piece.descriptor, source)

    def _blob(self, descriptor: Descriptor, source: BinaryIO) -> None:
        path = blob_path(descriptor.digest)
        if path in self._there:
            return
        self._begin(path, descriptor.size)
        left = descriptor.size
        while left:
            piece = source.read(min(left, _PIECE))
            if not piece:
                raise OSError(f"blob {descriptor.digest} is shorter than recorded")
            self._put(piece)
            left -= len(piece)
        self._put(bytes(-descriptor.size % BLOCK))

    def _begin(self, path: str, size: int) -> None:
        self._there.add(path)
        entry = Entry(path.encode(), stat.S_IFREG | 0o644)
        entry.size = size
        self._put(headers(entry))

    def _put(self, data: bytes) -> None:
        view = memoryview(data)
        while view:
            view = view[self._out.write(view) :]


def _index(whole: list[Whole]) -> bytes:
    """One descriptor per name, in the way of containerd, so that others find the names."""
    descriptors = []
    for each in whole:
        plain = Descriptor(
            media_type=each.image.manifest.media_type or media_types.OCI_MANIFEST,
            digest=each.image.digest,
            size=len(each.image.manifest_blob),
        )
        indexes = each.item.indexes
        for name in each.item.names or (None,):
            top = indexes[name].root if name in indexes else plain
            described = name_annotations(name) if name else None
            descriptors.append(msgspec.structs.replace(top, annotations=described))
    index = Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=descriptors)
    return msgspec.json.encode(index)


def name_annotations(name: Reference) -> dict[str, str]:
    """What a descriptor in ``index.json`` says of its image's name, for containerd and for OCI."""
    return {IMAGE_NAME: str(name), REF_NAME: name.tag}


def _docker_manifest(whole: list[Whole]) -> bytes:
    return msgspec.json.encode(
        [
            {
                "Config": blob_path(each.image.manifest.config.digest),
                "RepoTags": [name.familiar for name in each.item.names] or None,
                "Layers": [blob_path(layer.descriptor.digest) for layer in each.image.layers],
            }
            for each in whole
        ]
    )
