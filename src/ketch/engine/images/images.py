"""Images: pull, push, build results, archives, names, removal.

An image is a config blob (its digest is the image's ID) over layers of the snapshotter. Records and
names live in SQLite and are read from memory; blobs in the content store. A *ref* is a name
(``busybox``, ``host:5000/x:1``, ``x@sha256:…``), a full ID with or without ``sha256:``, or a prefix
of an ID that only one image has.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Iterable, Sequence
from contextlib import AbstractAsyncContextManager
from urllib.parse import urlsplit

import msgspec

from ketch.distribution.hosts import RegistrySettings
from ketch.distribution.login import log_in
from ketch.distribution.search import SearchResult
from ketch.engine.containers.image import defaults_of
from ketch.engine.filters import Filters
from ketch.engine.http_get import chunks
from ketch.engine.images.blobs import Blobs
from ketch.engine.images.commit import Maker, tag_reference
from ketch.engine.images.configs import Configs
from ketch.engine.images.export import ImageExporter
from ketch.engine.images.gc import Collector
from ketch.engine.images.indexes import Indexes, Users
from ketch.engine.images.list import ImageFilters, Lister
from ketch.engine.images.load import Loader
from ketch.engine.images.manifests import Assembler
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.pull import Puller
from ketch.engine.images.push import Pusher
from ketch.engine.images.remote import RemoteImage, configuration, describe, find
from ketch.engine.images.remove import Remover
from ketch.engine.images.save import Saver
from ketch.engine.images.store import StoredImage
from ketch.engine.images.values import (
    CommitOptions,
    Credentials,
    HistoryLine,
    ImageDetails,
    ImagePruneReport,
    ImageRecord,
    ImageSummary,
    ImportOptions,
    Manifests,
    NewImage,
    Removed,
)
from ketch.engine.progress import Emit, Progress, streamed
from ketch.engine.spec.merge import ImageDefaults
from ketch.errors import InvalidParameter, NotFound
from ketch.oci.descriptor import Descriptor
from ketch.oci.image import ImageConfig
from ketch.oci.platform import Platform

ANONYMOUS = Credentials()


class Images:
    """See the module's docstring. Refs that name nothing raise ``NotFound``."""

    def __init__(self, parts: ImageParts) -> None:
        self._parts = parts
        self._store = parts.store
        self._configs = Configs(parts.content)
        self._collector = Collector(parts)
        filters = ImageFilters(parts, self._configs)
        self._assembler = assembler = Assembler(parts, self._configs)
        self._lister = Lister(parts, self._configs, filters)
        self._indexes = indexes = Indexes(parts, self._configs, assembler)
        self._remover = Remover(parts, self._collector, filters, indexes)
        self._puller = Puller(parts, self._collector)
        self.exporter = ImageExporter(parts)
        self._pusher = Pusher(parts, assembler, indexes, self.exporter.push)
        self._maker = Maker(parts, self._collector)
        self._loader = Loader(parts, self._collector)
        self._saver = Saver(parts, assembler, indexes)
        self.blobs = Blobs(parts)

    async def start(self) -> None:
        """After the containers are recovered: sweep what no record names."""
        await asyncio.to_thread(self._parts.content.sweep_ingests)
        await self.collect_garbage()

    @property
    def registries(self) -> RegistrySettings:
        """The configuration of registries."""
        return self._parts.settings.registries

    # looking up: no I/O but of a small file, safe on the event loop

    def resolve(self, ref: str, platform: str = "") -> ImageRecord:
        """The image of a ref, with the ref's other names; with ``platform`` the one for that.

        Raises ``NotFound("No such image: x:latest")``, ``InvalidParameter``."""
        named = self._store.record(self._store.resolve(ref))
        if not platform:
            return named
        record = self._store.record(self._indexes.image(ref, platform))
        return msgspec.structs.replace(record, tags=named.tags, digests=named.digests)

    def variants(self, ref: str) -> set[str]:
        """IDs of the images that a ref means on one platform or another; none of no image."""
        try:
            found = self._store.resolve(ref)
        except (NotFound, InvalidParameter):
            return set()
        index = self._store.index_of(ref, found)
        return {found.id} | {image.id for image in (index.images if index else ())}

    def platform_manifests(self) -> dict[str, Descriptor]:
        """What indexes say of the manifests of their images, by the images' IDs."""
        return {
            image.id: described
            for index in self._store.indexes()
            for described in index.documents
            for image in index.images
            if image.manifest == described.digest
        }

    def config(self, image_id: str) -> ImageConfig:
        """The parsed configuration of a full ID (one small file is read, then remembered)."""
        return self._configs.get(self._store.get(image_id).id)

    def config_blob(self, image_id: str) -> bytes:
        """The configuration byte for byte."""
        return self._configs.blob(self._store.get(image_id).id)

    def defaults(self, image: ImageRecord) -> ImageDefaults:
        """What a container takes over from the image."""
        return defaults_of(self.config(image.id))

    def records(self) -> Sequence[ImageRecord]:
        """Every image, newest first."""
        newest = sorted(self._store, key=lambda image: (-image.created_at, image.id))
        return [self._store.record(image) for image in newest]

    async def list(
        self,
        filters: Filters,
        *,
        all: bool = False,
        shared_size: bool = False,
        manifests: bool = False,
    ) -> Sequence[ImageSummary]:
        """Images for ``docker images``, newest first. Filters: dangling, label, label!, before,
        since, reference, until (ns as decimal text); another key raises ``InvalidParameter``.
        Without ``all`` untagged images with children are left out; ``manifests`` tells more."""
        tell = self._told if manifests else _nothing
        return self._lister.summaries(filters, all=all, shared_size=shared_size, tell=tell)

    def _told(self, image: StoredImage, users: Users) -> Manifests | None:
        return self._indexes.told(image, self._store.index_of(image.id, image), users)

    async def inspect(self, ref: str, platform: str = "") -> ImageDetails:
        """Everything about one image, of an index about the one for ``platform``; ``NotFound`` when
        there is none for it."""
        image = self._indexes.image(ref, platform)
        index = self._store.index_of(ref, self._store.resolve(ref))
        users = self._lister.users()
        return ImageDetails(
            record=self.resolve(ref, platform),
            config=self._configs.get(image.id),
            manifests=await asyncio.to_thread(
                self._indexes.told, image, index, users, alone=bool(platform)
            ),
            last_tagged_at=image.tagged_at,
            containers=tuple(users.get(image.id, ())),
        )

    async def history(self, ref: str, platform: str = "") -> Sequence[HistoryLine]:
        """The steps of an image, newest first; ``NotFound`` when it is not for ``platform``."""
        return self._lister.history(self._indexes.image(ref, platform))

    def layer_size(self, diff_id: str) -> int:
        """Bytes of one layer, 0 when it is not there."""
        return self._lister.layer_size(diff_id)

    def layers_size(self) -> int:
        """Bytes of all stored layers, each counted once. Blocks; to be called in a thread."""
        return sum(self._lister.layer_size(layer) for layer in self._parts.snapshots.layers())

    # registries

    def pull(
        self,
        reference: str,
        *,
        platform: str = "",
        auth: Credentials | None = None,
        all_tags: bool = False,
    ) -> AsyncIterator[Progress]:
        """Pull, or with ``all_tags`` every tag of a repository; an async generator.

        What is wrong before the first line is raised by its first ``__anext__``, what fails later
        by a later one. Closing it cancels; partial downloads are
        resumed by the next pull."""
        return streamed(
            lambda emit: self._puller.pull(reference, platform, auth or ANONYMOUS, emit, all_tags)
        )

    def push(
        self, reference: str, *, platform: str = "", auth: Credentials | None = None
    ) -> AsyncIterator[Progress]:
        """Push a name, or every tag of a repository without a tag; an async generator like
        ``pull``. The last line of each has ``aux``: Tag, Digest, Size."""
        return streamed(
            lambda emit: self._pusher.push(reference, platform, auth or ANONYMOUS, emit)
        )

    async def describe_remote(self, reference: str, auth: Credentials | None) -> RemoteImage:
        """What a registry has under a name; see ``images.remote.describe``."""
        return await describe(self._parts.settings.registries, reference, auth or ANONYMOUS)

    async def remote_config(
        self, reference: str, platform: Platform, auth: Credentials | None
    ) -> bytes:
        """The configuration of an image of a registry; see ``images.remote.configuration``."""
        settings = self._parts.settings.registries
        return await configuration(settings, reference, platform, auth or ANONYMOUS)

    async def search(
        self, term: str, limit: int, filters: Filters, auth: Credentials | None
    ) -> Sequence[SearchResult]:
        """Search an index; see ``images.remote.find``."""
        registries = self._parts.settings.registries
        return await find(registries, term, limit, filters, auth or ANONYMOUS)

    async def log_in(self, server: str, auth: Credentials) -> str:
        """Check credentials against a registry; returns an identity token or "".

        Raises ``Unauthorized``."""
        return await log_in(self._parts.settings.registries, server, auth)

    # making

    async def create(self, image: NewImage) -> ImageRecord:
        """Store an image of layers that are there (builder, commit). Durable when it returns."""
        return await self._maker.create(image)

    def import_(
        self, stream: AsyncIterator[bytes], options: ImportOptions
    ) -> AsyncIterator[Progress]:
        """Make an image of a root file system's tar (plain or compressed); an async generator whose
        last status is the ID."""
        return streamed(lambda emit: self._maker.import_(stream, options, emit))

    async def commit(
        self, config: ImageConfig, layers: tuple[str, ...], options: CommitOptions
    ) -> ImageRecord:
        """Make an image of a container: ``config`` is its image's, with the container's own
        ``config`` object; ``layers`` the image's and the container's, base first."""
        return await self._maker.commit(config, layers, options)

    def load(self, stream: AsyncIterator[bytes], platform: str = "") -> AsyncIterator[Progress]:
        """Load a Docker archive (of Docker 1.10 or later) or an OCI layout, plain or compressed; an
        async generator whose ``stream`` lines say ``Loaded image: x:1``."""
        return streamed(lambda emit: self._loader.load(stream, platform, emit))

    async def save(self, refs: Sequence[str], platform: str = "") -> AsyncIterator[bytes]:
        """A Docker archive that is an OCI layout too; a name without a tag means all its tags.
        Awaiting it checks the refs, iterating reads;
        what is read is protected from removal until the iterator is closed."""
        return await self._saver.save(refs, platform)

    # names and removal

    async def tag(self, ref: str, target: str) -> None:
        """Give an image, or the index that ``ref`` stands for, one more name; a tag that another
        image had moves."""
        image, name = self._store.resolve(ref), tag_reference(target)
        self._store.put(image, [name], self._store.index_of(ref, image))
        self._parts.publish("tag", image.id, name.familiar)

    def import_url(self, url: str, options: ImportOptions) -> AsyncIterator[Progress]:
        """Like ``import_``, with the tar that a URL leads to."""
        source = _checked_url(url)
        options = msgspec.structs.replace(options, source=source)

        async def run(emit: Emit) -> None:
            emit(Progress(status=f"Downloading from {source}"))
            await self._maker.import_(chunks(source), options, emit)

        return streamed(run)

    async def remove(
        self, ref: str, *, force: bool = False, prune: bool = True, platforms: Sequence[str] = ()
    ) -> tuple[Removed, ...]:
        """Remove a name or an image by Docker's rules; raises ``Conflict`` in Docker's words.

        ``prune`` takes untagged parents away too. With ``platforms`` only these images go, and the
        name when it has no other."""
        if platforms:
            return await self._remover.remove_platforms(ref, platforms, force=force)
        return await self._remover.remove(ref, force=force, prune=prune)

    async def prune(self, filters: Filters) -> ImagePruneReport:
        """Remove images that no container uses: untagged ones, or with ``dangling=false`` all."""
        return await self._remover.prune(filters)

    def keep_layers(self, roots: Callable[[], Iterable[str]]) -> None:
        """Register more diff IDs that are never collected (the build cache)."""
        self._collector.keep_layers(roots)

    def hold(self) -> AbstractAsyncContextManager[None]:
        """``async with`` it around storing layers that no record can name yet (a build's steps, a
        commit): nothing is collected meanwhile."""
        return self._collector.held()

    def empty_trash_soon(self) -> None:
        """A snapshot was removed: its files are deleted when things have calmed down."""
        self._collector.empty_trash_soon()

    def close(self) -> None:
        """Begin no more deletions."""
        self._collector.close()

    async def collect_garbage(self) -> int:
        """Remove layers and blobs that nothing names; returns the bytes of layers freed."""
        return await self._collector.collect()


def _checked_url(text: str) -> str:
    """An http(s) URL; without a scheme it is http, as with Docker. Raises ``InvalidParameter``."""
    url = text if "://" in text else f"http://{text}"
    try:
        parts = urlsplit(url)
        good = parts.scheme in ("http", "https") and bool(parts.hostname)
    except ValueError:  # a bracket without its other one
        good = False
    if not good:
        raise InvalidParameter(f"cannot import {text!r}: an http or https URL is expected")
    return url


def _nothing(image: StoredImage, users: Users) -> Manifests | None:
    return None
