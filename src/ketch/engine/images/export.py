"""What can be done with a tree of images (``images.tree``): an archive, a push, keeping it."""

from __future__ import annotations

import asyncio
import io
import os
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from contextlib import AbstractContextManager
from functools import partial
from typing import TYPE_CHECKING

import msgspec

from ketch.build.request.offers import Blob
from ketch.distribution.auth import Credentials
from ketch.distribution.upload import Uploader
from ketch.engine.images.index import IndexImage, StoredIndex
from ketch.engine.images.layout import blob_path
from ketch.engine.images.manifests import Piece
from ketch.engine.images.push import Upload
from ketch.engine.images.save import LAYOUT, Archive, name_annotations
from ketch.engine.images.store import StoredImage
from ketch.engine.images.tree import Form, ImageTree, TreeImage, TreeMaker, joined
from ketch.engine.pipes import drained
from ketch.engine.progress import Emit
from ketch.oci import image as images
from ketch.oci import media_types
from ketch.oci.descriptor import Descriptor
from ketch.oci.image import ImageConfig
from ketch.oci.manifest import Index, Manifest
from ketch.oci.reference import Reference

if TYPE_CHECKING:
    from ketch.engine.images.parts import ImageParts
    from ketch.state.leases import Lease


class ImageExporter:
    """See the module's docstring."""

    def __init__(self, parts: ImageParts) -> None:
        self._parts = parts

    def lease(self) -> AbstractContextManager[Lease]:
        """What trees are made of is kept while this is held."""
        return self._parts.leases.lease("export of a build")

    async def tree(
        self,
        wanted: Sequence[TreeImage],
        form: Form,
        lease: Lease,
        *,
        annotations: Mapping[str, str] | None = None,
        attached: Callable[[list[ImageTree]], list[ImageTree]] = lambda trees: [],
        index: bool = False,
    ) -> ImageTree:
        """One manifest; or an index over several, over what is ``attached`` to them, because it
        has ``annotations`` of its own, or is asked for."""
        for image in wanted:
            lease.add(*image.layers)

        def make(maker: TreeMaker) -> ImageTree:
            trees = [maker.image(image) for image in wanted]
            more = attached(trees)
            if len(trees) == 1 and not (more or annotations or index):
                return trees[0]
            return joined([*trees, *more], annotations or {}, oci=form.oci)

        return await self.made(form, lease, make)

    async def made(
        self, form: Form, lease: Lease, make: Callable[[TreeMaker], ImageTree]
    ) -> ImageTree:
        """A tree by a function that runs in a thread."""
        maker = TreeMaker(self._parts, form, lease)
        tree = await asyncio.to_thread(make, maker)
        lease.add(*tree.digests())
        return tree

    async def push(
        self,
        tree: ImageTree,
        name: Reference,
        auth: Credentials,
        emit: Emit,
        target: str = "",
        *,
        insecure: bool = False,
    ) -> str:
        """Push a tree; its root goes under ``target``, by default the name's tag. Its digest.
        ``insecure``: the registry is taken as it comes (``RegistrySettings.trusting``)."""
        registries = self._parts.settings.registries
        registries = registries.trusting(name.domain) if insecure else registries
        uploader = Uploader(registries, name, auth)
        async with uploader:
            await Upload(self._parts, uploader, emit).layers(tree.pieces)
            for described, data in tree.documents[:-1]:
                await uploader.manifest(data, described.media_type, described.digest)
            root, data = tree.documents[-1]
            await uploader.manifest(data, root.media_type, target or name.tag)
        self._parts.publish("push", name.familiar, name.familiar_name)
        return root.digest

    async def keep(self, names: Sequence[Reference], tree: ImageTree) -> None:
        """Let names stand for the whole tree; every image of it can be run."""
        index, found = await asyncio.to_thread(self._kept, tree)
        first = next(image for image in found if image.id == index.primary)
        others = [image for image in found if image is not first]
        self._parts.store.put(first, names, index, others)

    def _kept(self, tree: ImageTree) -> tuple[StoredIndex, list[StoredImage]]:
        content = self._parts.content
        configs = {each.config.digest for each in tree.manifests}
        for _, data in tree.documents:
            content.put(data)
        for piece in tree.pieces:
            layer = piece.descriptor.media_type in media_types.LAYERS
            if not layer and not content.has(piece.descriptor.digest):
                with piece.open() as file:
                    content.put(file.read())  # a configuration or an attestation
        found = {digest: images.decode(content.read(digest)) for digest in configs}
        entries = [  # those of images come first
            IndexImage(
                id=manifest.config.digest,
                manifest=described.digest,
                platform=described.platform or found[manifest.config.digest].platform,
            )
            for (described, _), manifest in zip(tree.documents, tree.manifests, strict=False)
        ]
        layers = tuple(dict.fromkeys(x for config in found.values() for x in config.diff_ids))
        index = StoredIndex(
            documents=tuple(described for described, _ in tree.documents),
            blobs=tuple(piece.descriptor for piece in tree.pieces),
            layers=layers,
            images=tuple(entries),
        )
        return index, [
            self._image(entry, manifest, found[entry.id])
            for entry, manifest in zip(entries, tree.manifests, strict=True)
        ]

    def _image(self, entry: IndexImage, manifest: Manifest, config: ImageConfig) -> StoredImage:
        snapshots = self._parts.snapshots
        return StoredImage(
            id=entry.id,
            layers=config.diff_ids,
            created_at=config.created_at,
            size=sum(snapshots.layer(diff_id).size for diff_id in config.diff_ids),
            manifest=entry.manifest,
            blobs=tuple(layer.digest for layer in manifest.layers),
        )

    def remember(self, image_id: str, pushed: Sequence[Reference], tree: ImageTree) -> None:
        """An image that is here has this form: pushing it later gives the same digest. ``pushed``
        are the names that it was pushed under already."""
        stored = self._parts.store.get(image_id)
        manifest = tree.manifests[0]
        if self._parts.settings.keep_blobs and len(tree.documents) == 1:
            stored = msgspec.structs.replace(
                stored,
                manifest=self._parts.content.put(tree.documents[0][1]),
                blobs=tuple(layer.digest for layer in manifest.layers),
            )
        self._parts.store.put(stored, [name.with_digest(tree.root.digest) for name in pushed])


class TreeLayout:
    """A tree as an OCI layout (``ketch.build.request.offers.Layout``); with ``docker`` its archive
    is Docker's too. ``described`` are annotations of the descriptor in ``index.json``."""

    def __init__(
        self,
        tree: ImageTree,
        names: Sequence[Reference] = (),
        described: Mapping[str, str] | None = None,
        *,
        docker: bool = False,
    ) -> None:
        self._tree = tree
        self._names = names
        self._described = described or {}
        self._docker = docker

    @property
    def blobs(self) -> list[Blob]:
        """What documents name comes before them."""
        documents = [Piece(d, partial(io.BytesIO, data)) for d, data in self._tree.documents]
        found = {piece.descriptor.digest: piece for piece in (*self._tree.pieces, *documents)}
        return [Blob(d, piece.descriptor.size, piece.open) for d, piece in found.items()]

    async def archive(self) -> AsyncIterator[bytes]:
        """See ``Layout``."""

        async def write(fd: int) -> None:
            args = (self._tree, self._names, self._described, self._docker)
            await asyncio.to_thread(_write, os.dup(fd), *args)

        return await drained(write)


def _write(
    fd: int, tree: ImageTree, names: Sequence[Reference], described: Mapping[str, str], docker: bool
) -> None:
    with os.fdopen(fd, "wb", buffering=0) as out:
        archive = Archive(out)
        archive.tree(tree)
        archive.file("oci-layout", LAYOUT)
        archive.file("index.json", _top(tree.root, names, described))
        if docker:
            archive.file("manifest.json", _docker(tree.manifests, names))
        archive.end()


def _top(root: Descriptor, names: Sequence[Reference], described: Mapping[str, str]) -> bytes:
    """``index.json``: the root under every name."""
    plain: list[dict[str, str]] = [name_annotations(name) for name in names] or [{}]
    entries = [
        msgspec.structs.replace(
            root, annotations={**(root.annotations or {}), **described, **found} or None
        )
        for found in plain
    ]
    index = Index(schema_version=2, media_type=media_types.OCI_INDEX, manifests=entries)
    return msgspec.json.encode(index)


def _docker(images: Sequence[Manifest], names: Sequence[Reference]) -> bytes:
    return msgspec.json.encode(
        [
            {
                "Config": blob_path(image.config.digest),
                "RepoTags": [name.familiar for name in names] or None,
                "Layers": [blob_path(layer.digest) for layer in image.layers],
            }
            for image in images
        ]
    )
