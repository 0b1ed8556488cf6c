"""``--cache-from``: steps that other machines did, taken when a build comes to them.

What a source says is trusted for the build that names it, and not remembered: a later build that
does not name it does the step itself.
"""

from __future__ import annotations

import asyncio
from base64 import b64decode
from collections.abc import Awaitable, Callable, Mapping, Sequence
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING, NamedTuple

import msgspec

from ketch.build.request.cache_options import LOCAL, CacheImport, MountChoice
from ketch.engine.builder.cache import config as cache_config
from ketch.engine.builder.cache.config import INLINE_KEY, MEDIA_TYPE, Imported, MountContent
from ketch.engine.progress import reported
from ketch.errors import DataCorrupt, KetchError, NotFound
from ketch.oci import image as images
from ketch.oci import platform as platforms
from ketch.oci import reference as references
from ketch.oci import strictjson
from ketch.oci.descriptor import Descriptor

if TYPE_CHECKING:
    from ketch.build.executor import CacheEntry
    from ketch.build.progress.events import Report
    from ketch.distribution.client import RegistryClient
    from ketch.engine.builder.cache.mounts import MountKey
    from ketch.engine.builder.room import BuildRoom

_LARGEST = 64 << 20  # bytes of the description of a cache
Steps = Mapping[str, Imported]
ReadBlob = Callable[[Descriptor], Awaitable[bytes]]
FetchLayer = Callable[[Descriptor, str], Awaitable[None]]
FetchBlob = Callable[[Descriptor], Awaitable[None]]


class _Document(msgspec.Struct, rename="camel"):
    """A manifest or an index, of an image or of a cache."""

    config: Descriptor | None = None
    layers: list[Descriptor] = []
    manifests: list[Descriptor] = []


class _Inline(msgspec.Struct):
    cache: str = msgspec.field(default="", name=INLINE_KEY)


class _Source(NamedTuple):
    """What one source offers, and how it is brought."""

    steps: Steps
    mounts: Mapping[MountKey, MountContent]
    chosen: MountChoice
    layer: FetchLayer
    blob: FetchBlob


class CacheSources:
    """All sources of one build."""

    def __init__(self, room: BuildRoom) -> None:
        self._room = room
        self._stack = AsyncExitStack()
        self._loading: asyncio.Task[list[_Source]] | None = None
        self._locks: dict[str, asyncio.Lock] = {}

    async def find(self, key: str) -> CacheEntry | None:
        """A step's outcome with its layer in place; None when no source has it."""
        for source in await self._loaded():
            found = source.steps.get(key)
            if found is not None and await self._there(found, source.layer):
                return found.entry
        return None

    async def mount(self, key: MountKey) -> tuple[MountContent, MountChoice, FetchBlob] | None:
        """What a cache mount held, what is wanted of its source, and how the blob is brought."""
        for source in await self._loaded():
            found = source.mounts.get(key)
            if found is not None and source.chosen.wants(key.id):
                return found, source.chosen, source.blob
        return None

    async def _loaded(self) -> list[_Source]:
        """Read when the first is asked."""
        if not self._room.options.cache_imports:
            return []
        if self._loading is None:
            self._loading = asyncio.create_task(self._load())
        return await asyncio.shield(self._loading)

    async def close(self) -> None:
        """Let go of the connections."""
        if self._loading is not None:
            self._loading.cancel()
            await asyncio.gather(self._loading, return_exceptions=True)
        await self._stack.aclose()

    async def _there(self, found: Imported, fetch: FetchLayer) -> bool:
        layer = found.entry.layer
        if not layer:
            return True
        self._room.hold([layer])
        async with self._locks.setdefault(layer, asyncio.Lock()):
            if self._room.parts.snapshots.has_layer(layer):
                return True
            if found.blob is None:
                return False
            try:
                await fetch(found.blob, layer)
            except NotFound:
                return False  # the source lost it: the step is done here
        return True

    async def _load(self) -> list[_Source]:
        """A source that can't be read is warned of, and does without."""
        found = []
        for source in self._room.options.cache_imports:
            name = source.ref or source.type
            report = self._room.reporting(f"importing cache manifest from {name}")
            try:
                found.append(await self._source(source, report))
            except KetchError as error:
                report.warn(f"the cache can't be taken from {name}: {error}")
            report.end()
        return found

    async def _source(self, source: CacheImport, report: Report) -> _Source:
        if source.type == LOCAL:
            return await self._local(source)
        return self._image(source) or await self._registry(source, report)

    def _image(self, source: CacheImport) -> _Source | None:
        """An image that is here already, as CI systems pull it first; None when there is none, or
        it tells of no steps."""
        images_here = self._room.parts.images
        try:
            config = images_here.config_blob(images_here.resolve(source.ref).id)
            steps = inline_steps(config)
        except KetchError:
            return None
        if not steps:
            return None

        async def nothing(blob: Descriptor, diff_id: str = "") -> None:
            raise NotFound(f"{source.ref} has lost a layer")  # a step without a blob asks for none

        return _Source(steps, {}, source.mounts, nothing, nothing)

    async def _local(self, source: CacheImport) -> _Source:
        layout = await self._room.offers.layout(source.store)
        blobs = self._room.parts.images.blobs

        async def take(blob: Descriptor, diff_id: str) -> None:
            await blobs.take(layout.pieces(blob), blob, diff_id)

        async def store(blob: Descriptor) -> None:
            await blobs.store(layout.pieces(blob), blob)

        document = await layout.document(source.tag, source.digest)
        steps, mounts = await _steps(document, layout.read)
        return _Source(steps, mounts, source.mounts, take, store)

    async def _registry(self, source: CacheImport, report: Report) -> _Source:
        name = references.parse(source.ref).tagged()
        blobs = self._room.parts.images.blobs
        auth = await self._room.account(name)
        client = blobs.client(name, auth, insecure=source.insecure)
        await self._stack.enter_async_context(client)

        emit = reported(report, name)

        async def read(blob: Descriptor) -> bytes:
            return await client.blob(blob, _LARGEST)

        async def fetch(blob: Descriptor, diff_id: str) -> None:
            await blobs.pull(client, blob, diff_id, emit)

        async def store(blob: Descriptor) -> None:
            await blobs.download(client, blob, emit)

        document = await _manifest(client, name.digest or name.tag)
        steps, mounts = await _steps(document, read)
        return _Source(steps, mounts, source.mounts, fetch, store)


async def _manifest(client: RegistryClient, target: str) -> bytes:
    """That of a cache, or of the image for this machine."""
    served = (await client.manifest(target)).data
    document = _decoded(served)
    if not document.manifests or any(m.media_type == MEDIA_TYPE for m in document.manifests):
        return served
    at = platforms.choose([m.platform for m in document.manifests], platforms.host())
    if at is None:
        raise NotFound(f"the image has none for {platforms.host()}")
    return (await client.manifest(document.manifests[at].digest)).data


async def _steps(data: bytes, read: ReadBlob) -> tuple[Steps, Mapping[MountKey, MountContent]]:
    document = _decoded(data)
    parts = [*([document.config] if document.config else []), *document.manifests]
    described = next((part for part in parts if part.media_type == MEDIA_TYPE), None)
    if described is not None:
        blobs = document.layers or document.manifests
        config = await read(described)
        return cache_config.decode(config, blobs), cache_config.decode_mounts(config)
    if document.config is None:
        return {}, {}
    return _inline(await read(document.config), document.layers), {}


def _inline(config: bytes, layers: Sequence[Descriptor]) -> Steps:
    """The cache in an image's configuration; its layers are those of the image."""
    steps = inline_steps(config)
    diff_ids = images.decode(config).diff_ids
    if len(diff_ids) != len(layers):
        raise DataCorrupt("the image has another number of layers than its configuration says")
    blobs = dict(zip(diff_ids, layers, strict=True))
    return {
        key: Imported(found.entry, blobs.get(found.entry.layer)) for key, found in steps.items()
    }


def inline_steps(config: bytes) -> Steps:
    """The steps that an image's configuration tells of."""
    strictjson.check(config, "the image configuration", largest=images.LARGEST_CONFIG)
    try:
        text = msgspec.json.decode(config, type=_Inline).cache
        return cache_config.decode(b64decode(text, validate=True)) if text else {}
    except (msgspec.DecodeError, ValueError) as error:
        raise DataCorrupt(f"malformed cache in an image's configuration: {error}") from None


def _decoded(data: bytes) -> _Document:
    strictjson.check(data, "the manifest of the cache")
    try:
        return msgspec.json.decode(data, type=_Document)
    except (msgspec.DecodeError, ValueError, RecursionError) as error:
        raise DataCorrupt(f"malformed manifest of a cache: {error}") from None
