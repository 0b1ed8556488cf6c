"""Pulling: from a registry's reference to layers in the snapshotter and a record.

Layers are downloaded a few at a time and unpacked by workers as soon as each is complete; every
blob is leased from before it is looked for until the record names it. Lines are worded as Docker's.
"""

from __future__ import annotations

import asyncio
import os
from contextlib import AsyncExitStack

from ketch.content.threads import completed
from ketch.distribution.auth import Credentials
from ketch.distribution.client import RegistryClient
from ketch.distribution.resolve import Resolved, resolve
from ketch.engine.images.gc import Collector
from ketch.engine.images.index import IndexImage, StoredIndex
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.store import StoredImage
from ketch.engine.progress import Emit, Meter, Progress, all_of
from ketch.errors import DataCorrupt, InvalidParameter, NotFound
from ketch.oci import digest as digests
from ketch.oci import manifest as manifests
from ketch.oci import platform as platforms
from ketch.oci.descriptor import Descriptor
from ketch.oci.media_types import OCI_INDEX
from ketch.oci.reference import Reference, parse


class Puller:
    """See the module's docstring."""

    def __init__(self, parts: ImageParts, collector: Collector) -> None:
        self._parts = parts
        self._collector = collector
        self._unpacking = asyncio.Semaphore(parts.settings.unpackers)

    async def pull(
        self, text: str, platform: str, auth: Credentials, emit: Emit, all_tags: bool = False
    ) -> None:
        """Pull one image or all of a repository; see ``Images.pull``."""
        reference = parse(text)
        if not all_tags:
            newer = await self._pull(reference.tagged(), platform, auth, emit)
            _tell(reference.tagged().familiar, newer, emit)
            return
        if reference.tag or reference.digest:
            raise InvalidParameter("tag can't be used with --all-tags/-a")
        async with RegistryClient(self._parts.settings.registries, reference, auth) as client:
            tags = await client.tags()
        if not tags:
            raise NotFound(f"{reference.name} has no tags")
        pulled = [
            await self._pull(reference.with_tag(tag), platform, auth, emit) for tag in sorted(tags)
        ]
        _tell(reference.familiar_name, any(pulled), emit)

    async def _pull(
        self, reference: Reference, platform: str, auth: Credentials, emit: Emit
    ) -> bool:
        """Whether the name led elsewhere before."""
        wanted = platforms.parse(platform) if platform else platforms.host()
        keys: list[str] = []
        try:
            async with AsyncExitStack() as stack:
                lease = stack.enter_context(self._parts.leases.lease(f"pull {reference}"))
                client = RegistryClient(self._parts.settings.registries, reference, auth)
                await stack.enter_async_context(client)
                resolved = await resolve(client, wanted, exact=bool(platform))
                keys = _keys(resolved)
                lease.add(*keys)
                return await self._transfer(client, resolved, emit)
        except (DataCorrupt, InvalidParameter):
            await self._forget(keys)  # of what is hostile nothing stays
            raise

    async def _forget(self, keys: list[str]) -> None:
        for key in keys:
            self._parts.content.forget_partial(key)
        await self._collector.collect(keys)

    async def _transfer(self, client: RegistryClient, resolved: Resolved, emit: Emit) -> bool:
        reference = client.reference
        which = reference.digest or reference.tag
        emit(Progress(status=f"Pulling from {reference.path}", id=which, heading=True))
        before = self._known(reference)
        fetch = LayerFetch(self._parts, client, emit, self._unpacking)
        await fetch.run(resolved)
        image = await asyncio.to_thread(self._stored, resolved)
        index = await asyncio.to_thread(self._index, resolved, image)
        self._record(reference, resolved, image, index)
        emit(Progress(status=f"Digest: {resolved.target}"))
        return image.id not in before

    def _known(self, reference: Reference) -> set[str]:
        """IDs of the images that the name leads to already, for any platform."""
        store = self._parts.store
        image = store.by_name(reference)
        index = store.index_of(str(reference), image) if image else None
        known = {each.id for each in index.images} if index else set()
        return known | ({image.id} if image else set())

    def _stored(self, resolved: Resolved) -> StoredImage:
        """Store the small blobs and count the layers."""
        content, snapshots = self._parts.content, self._parts.snapshots
        return StoredImage(
            id=content.put(resolved.config_blob),
            layers=resolved.config.diff_ids,
            created_at=resolved.config.created_at,
            size=sum(snapshots.layer(diff_id).size for diff_id in resolved.config.diff_ids),
            manifest=content.put(resolved.served.data),
            blobs=tuple(layer.digest for layer in resolved.manifest.layers),
        )

    def _index(self, resolved: Resolved, image: StoredImage) -> StoredIndex | None:
        """The index that led to the image, with what is here of it; its documents are stored."""
        entry, content = resolved.entry, self._parts.content
        if entry is None:
            return None
        indexes = [
            Descriptor(
                media_type=manifests.decode(served.data, served.media_type).media_type or OCI_INDEX,
                digest=content.put(served.data),
                size=len(served.data),
            )
            for served in reversed(resolved.indexes)
        ]
        layers = resolved.manifest.layers if self._parts.settings.keep_blobs else []
        platform = entry.platform or resolved.config.platform
        return StoredIndex(
            documents=(entry, *indexes),
            blobs=(resolved.manifest.config, *layers),
            layers=image.layers,
            images=(IndexImage(id=image.id, manifest=entry.digest, platform=platform),),
        )

    def _record(
        self,
        reference: Reference,
        resolved: Resolved,
        image: StoredImage,
        index: StoredIndex | None,
    ) -> None:
        names = [reference.with_digest(reference.digest or resolved.target)]
        if not reference.digest:
            names.append(reference)
        self._parts.store.put(image, names, index)
        labels = resolved.config.run.labels or {}
        self._parts.publish("pull", reference.familiar, reference.familiar_name, **labels)


class LayerFetch:
    """Layers from one repository."""

    def __init__(
        self,
        parts: ImageParts,
        client: RegistryClient,
        emit: Emit,
        unpacking: asyncio.Semaphore,
    ) -> None:
        self._parts = parts
        self._client = client
        self._emit = emit
        self._downloading = asyncio.Semaphore(parts.settings.downloads)
        self._unpacking = unpacking

    async def run(self, resolved: Resolved) -> None:
        """Those of an image; of one that is there nothing is said."""
        known = resolved.image_id in self._parts.store
        pairs = zip(resolved.manifest.layers, resolved.config.diff_ids, strict=True)
        layers = {(layer.digest, diff_id): layer for layer, diff_id in pairs}
        missing = []
        for (digest, diff_id), layer in layers.items():
            there = self._parts.snapshots.has_layer(diff_id)
            if not (there and known):
                self._say("Already exists" if there else "Pulling fs layer", digest)
            if not there:
                missing.append(self.layer(layer, diff_id))
        await all_of(missing)

    async def layer(self, layer: Descriptor, diff_id: str) -> None:
        """Download and unpack one, unless it is there."""
        async with self._parts.locks.hold(layer.digest):
            if not self._parts.snapshots.has_layer(diff_id):  # another pull may have been quicker
                async with self._downloading:
                    await self.download(layer)
                self._say("Download complete", layer.digest)
                async with self._unpacking:
                    await self._unpack(layer, diff_id)
        self._say("Pull complete", layer.digest)

    async def download(self, layer: Descriptor) -> None:
        """Into the content store, unless it is there."""
        content = self._parts.content
        if content.has(layer.digest):
            if content.size(layer.digest) == layer.size:
                return
            raise DataCorrupt(f"layer {layer.digest} has another size than its manifest says")
        resumed = await self._attempt(layer)
        if resumed:  # what was there before belonged to something else: once more, from nothing
            await self._attempt(layer)

    async def _attempt(self, layer: Descriptor) -> bool:
        """Download; True when bytes of an earlier try made the digest wrong."""
        meter = Meter(self._emit, "Downloading", digests.short(layer.digest), layer.size)
        with self._parts.content.ingest(layer.digest, layer.size, resume=False) as ingest:
            await completed(ingest.resume)
            resumed = ingest.offset > 0
            await self._client.fetch(layer, ingest, meter)
            self._say("Verifying Checksum", layer.digest)
            try:
                await completed(ingest.commit)
            except DataCorrupt:
                if not resumed:
                    raise
                return True
        return False

    async def _unpack(self, layer: Descriptor, diff_id: str) -> None:
        meter = Meter(self._emit, "Extracting", digests.short(layer.digest), layer.size)
        with self._parts.content.open(layer.digest) as file:
            meter(0)
            fd = file.fileno()
            await meter.watch(
                # the worker reads the same open file, so that its position is ours to see
                lambda: os.lseek(fd, 0, os.SEEK_CUR),
                self._parts.ingest(fd, diff_id),
            )
            meter(layer.size)
        if not self._parts.settings.keep_blobs:
            self._parts.content.delete(layer.digest)

    def _say(self, status: str, digest: str) -> None:
        self._emit(Progress(status=status, id=digests.short(digest)))


def _tell(name: str, newer: bool, emit: Emit) -> None:
    said = "Downloaded newer image for" if newer else "Image is up to date for"
    emit(Progress(status=f"Status: {said} {name}"))


def _keys(resolved: Resolved) -> list[str]:
    """Everything that the image will consist of."""
    blobs = [layer.digest for layer in resolved.manifest.layers]
    return [
        resolved.image_id,
        resolved.served.digest,
        *(served.digest for served in resolved.indexes),
        *blobs,
        *resolved.config.diff_ids,
    ]
