"""Layers from elsewhere that no image names yet: for builds that take steps of other machines."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from typing import TYPE_CHECKING, BinaryIO

from ketch.content.threads import completed
from ketch.distribution.client import RegistryClient
from ketch.engine.images.manifests import compressed_into
from ketch.engine.images.pull import LayerFetch
from ketch.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from ketch.distribution.auth import Credentials
    from ketch.engine.images.parts import ImageParts
    from ketch.engine.progress import Emit
    from ketch.oci.reference import Reference


class Blobs:
    """See the module's docstring. Layers must be kept by the caller while it needs them."""

    def __init__(self, parts: ImageParts) -> None:
        self._parts = parts
        self._unpacking = asyncio.Semaphore(parts.settings.unpackers)

    def client(
        self, name: Reference, auth: Credentials, *, insecure: bool = False
    ) -> RegistryClient:
        """A client of a repository, to be entered; ``insecure``: of a registry that is taken as it
        comes (``RegistrySettings.trusting``)."""
        registries = self._parts.settings.registries
        registries = registries.trusting(name.domain) if insecure else registries
        return RegistryClient(registries, name, auth)

    async def pull(
        self, client: RegistryClient, blob: Descriptor, diff_id: str, emit: Emit
    ) -> None:
        """A layer from a registry; raises ``DataCorrupt`` when it is another one."""
        with self._parts.leases.lease("import of a build's cache", (blob.digest, diff_id)):
            fetch = LayerFetch(self._parts, client, emit, self._unpacking)
            await fetch.layer(blob, diff_id)

    async def take(self, pieces: AsyncIterator[bytes], blob: Descriptor, diff_id: str) -> None:
        """A layer from a client; raises as ``pull`` does."""
        with self._parts.leases.lease("layer of a client's", (blob.digest, diff_id)):
            async with self._parts.locks.hold(blob.digest):
                if not self._parts.content.has(blob.digest):
                    await self._store(pieces, blob)
                async with self._unpacking:
                    with self._parts.content.open(blob.digest) as file:
                        await self._parts.ingest(file.fileno(), diff_id)

    def open(self, digest: str) -> BinaryIO:
        """A blob of the content store; raises ``NotFound``."""
        return self._parts.content.open(digest)

    def compressed(self, tar: BinaryIO, kind: str, level: int | None) -> tuple[str, int]:
        """Compress into the content store: digest and bytes. Blocks."""
        digest = compressed_into(self._parts.content, tar, kind, level)
        return digest, self._parts.content.size(digest)

    async def download(self, client: RegistryClient, blob: Descriptor, emit: Emit) -> None:
        """A blob from a registry into the content store; to be leased by the caller."""
        async with self._parts.locks.hold(blob.digest):
            await LayerFetch(self._parts, client, emit, self._unpacking).download(blob)

    async def store(self, pieces: AsyncIterator[bytes], blob: Descriptor) -> None:
        """A blob from a client into the content store; to be leased by the caller."""
        async with self._parts.locks.hold(blob.digest):
            if not self._parts.content.has(blob.digest):
                await self._store(pieces, blob)

    async def _store(self, pieces: AsyncIterator[bytes], blob: Descriptor) -> None:
        """Of what breaks off nothing is kept."""
        with self._parts.content.ingest(blob.digest, blob.size, resume=False) as ingest:
            ingest.restart()
            try:
                async for piece in pieces:
                    await completed(ingest.write, piece)
                await completed(ingest.commit)
            finally:
                ingest.discard()
                await pieces.aclose()  # type: ignore[attr-defined]
