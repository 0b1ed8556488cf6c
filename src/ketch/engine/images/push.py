"""Pushing: an image's blobs and manifest into a registry. The lines are worded as Docker's."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import AsyncExitStack

import msgspec

from ketch.distribution.auth import Credentials
from ketch.distribution.upload import Uploader
from ketch.engine.images.index import StoredIndex
from ketch.engine.images.indexes import Indexes
from ketch.engine.images.manifests import Assembled, Assembler, Piece
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.store import StoredImage
from ketch.engine.images.tree import ImageTree
from ketch.engine.progress import Emit, Meter, Progress, all_of
from ketch.errors import Conflict, InvalidParameter, NotFound
from ketch.oci import digest as digests
from ketch.oci import media_types
from ketch.oci import platform as platforms
from ketch.oci.descriptor import Descriptor
from ketch.oci.reference import Reference, parse

PushTree = Callable[[ImageTree, Reference, Credentials, Emit], Awaitable[str]]
"""Push an index with all it names; returns its digest."""


class Pusher:
    """See the module's docstring."""

    def __init__(
        self, parts: ImageParts, assembler: Assembler, indexes: Indexes, push_tree: PushTree
    ) -> None:
        self._parts = parts
        self._assembler = assembler
        self._indexes = indexes
        self._push_tree = push_tree

    async def push(self, text: str, platform: str, auth: Credentials, emit: Emit) -> None:
        """Push one name, or every tag of a repository when none is given; see ``Images.push``."""
        reference = parse(text)
        if reference.digest:
            raise InvalidParameter("cannot push a digest reference")
        emit(Progress(status=f"The push refers to repository [{reference.name}]"))
        names = self._names(reference)
        for name in names:
            image = self._parts.store.by_name(name)
            if image is None:
                raise NotFound(f"tag does not exist: {name.familiar}")
            index = self._parts.store.index(name)
            if platform or index is None:
                image = self._indexes.image(name.familiar, platform)
                await self._push(name, image, auth, emit)
            elif await asyncio.to_thread(self._indexes.is_whole, index):
                await self._push_whole(index, name, auth, emit)
            else:
                await self._push_part(index, name, image, auth, emit)

    async def _push_whole(
        self, index: StoredIndex, name: Reference, auth: Credentials, emit: Emit
    ) -> None:
        with self._parts.leases.lease(f"push {name}", (*index.digests, *index.layers)):
            tree = await asyncio.to_thread(self._indexes.tree, index)
            await self._push_tree(tree, name, auth, emit)
            image = self._parts.store.by_name(name)
            if image is not None and self._parts.store.index(name) == index:
                self._parts.store.put(image, [name.with_digest(index.root.digest)], index)
        _tell(name, index.root.digest, index.root.size, emit)

    async def _push_part(
        self,
        index: StoredIndex,
        name: Reference,
        image: StoredImage,
        auth: Credentials,
        emit: Emit,
    ) -> None:
        """Not all of an index is here: push the one image, if it is plain which."""
        if len(index.images) > 1 and index.best(platforms.host()) is None:
            raise Conflict("multiple matching manifests found but no specific platform requested")
        pushed = await self._push(name, image, auth, emit)
        told = {
            "manifestPushedInsteadOfIndex": True,
            "originalIndex": msgspec.to_builtins(index.root),
            "selectedManifest": msgspec.to_builtins(pushed),
        }
        emit(Progress(aux=told))

    def _names(self, reference: Reference) -> list[Reference]:
        known = [name for name in self._parts.store.all_names() if name.tag]
        names = sorted(name for name in known if name.name == reference.name)
        if not names:
            raise NotFound(
                f"An image does not exist locally with the tag: {reference.familiar_name}"
            )
        return [reference] if reference.tag else names

    async def _push(
        self, name: Reference, image: StoredImage, auth: Credentials, emit: Emit
    ) -> Descriptor:
        async with AsyncExitStack() as stack:
            lease = stack.enter_context(self._parts.leases.lease(f"push {name}"))
            lease.add(image.id, image.manifest, *image.blobs, *image.layers)
            held = await self._assembled(image, emit)
            lease.add(*(layer.descriptor.digest for layer in held.layers))
            uploader = Uploader(self._parts.settings.registries, name, auth)
            await stack.enter_async_context(uploader)
            await Upload(self._parts, uploader, emit).run(held)
            self._remember(name, image, held)
        _tell(name, held.digest, len(held.manifest_blob), emit)
        self._parts.publish("push", name.familiar, name.familiar_name)
        return Descriptor(
            media_type=held.manifest.media_type or media_types.OCI_MANIFEST,
            digest=held.digest,
            size=len(held.manifest_blob),
        )

    async def _assembled(self, image: StoredImage, emit: Emit) -> Assembled:
        """With compressed layers: those that are kept, or made now."""
        whole = await asyncio.to_thread(self._assembler.as_it_came, image)
        if whole is not None:
            return whole
        for layer in image.layers:
            emit(Progress(status="Preparing", id=digests.short(layer)))
        return await asyncio.to_thread(self._assembler.compressed, image)

    def _remember(self, name: Reference, image: StoredImage, held: Assembled) -> None:
        """Keep what was made, so that pushing again gives the same digest."""
        stored = self._parts.store.get(image.id)
        if self._parts.settings.keep_blobs:
            stored = msgspec.structs.replace(
                stored,
                manifest=self._parts.content.put(held.manifest_blob),
                blobs=tuple(layer.descriptor.digest for layer in held.layers),
            )
        whole = self._parts.store.by_name(name)
        named = whole is not None and whole.id == image.id  # and not another platform of it
        self._parts.store.put(stored, [name.with_digest(held.digest)] if named else [])


def _tell(name: Reference, digest: str, size: int, emit: Emit) -> None:
    emit(Progress(status=f"{name.tag}: digest: {digest} size: {size}"))
    emit(Progress(aux={"Tag": name.tag, "Digest": digest, "Size": size}))


class Upload:
    """The blobs of one image."""

    def __init__(self, parts: ImageParts, uploader: Uploader, emit: Emit) -> None:
        self._parts = parts
        self._uploader = uploader
        self._emit = emit
        self._uploading = asyncio.Semaphore(parts.settings.uploads)

    async def run(self, held: Assembled) -> None:
        """Everything of an image, and its manifest under the uploader's tag."""
        await self.layers(held.layers)
        config = held.manifest.config
        if not await self._uploader.has(config):
            await self._uploader.blob(
                config, lambda: self._parts.content.open(config.digest), _quiet
            )
        media_type = held.manifest.media_type or media_types.OCI_MANIFEST
        await self._uploader.manifest(held.manifest_blob, media_type, self._uploader.reference.tag)

    async def layers(self, pieces: Iterable[Piece]) -> None:
        """Blobs that the repository does not have yet."""
        layers = {layer.descriptor.digest: layer for layer in pieces}
        await all_of(self._layer(layer) for layer in layers.values())

    async def _layer(self, layer: Piece) -> None:
        descriptor = layer.descriptor
        name = digests.short(descriptor.digest)
        async with self._uploading:
            if await self._uploader.has(descriptor):
                self._emit(Progress(status="Layer already exists", id=name))
                return
            meter = Meter(self._emit, "Pushing", name, descriptor.size)
            source = self._mountable(descriptor.digest)
            mounted = await self._uploader.blob(descriptor, layer.open, meter, source)
        self._emit(Progress(status=f"Mounted from {source}" if mounted else "Pushed", id=name))

    def _mountable(self, digest: str) -> str:
        """Another repository of the same registry that may have the blob; "" if none is known."""
        target = self._uploader.reference
        holders = {image.id for image in self._parts.store if digest in image.blobs}
        paths = (
            name.path
            for name, image_id in self._parts.store.all_names().items()
            if image_id in holders and name.digest and name.domain == target.domain
        )
        return next((path for path in paths if path != target.path), "")


def _quiet(sent: int) -> None:
    """A configuration is too small for a meter."""
