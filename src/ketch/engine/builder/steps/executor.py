"""The executor of the build room's protocol on the engine's rooms, for one build."""

from __future__ import annotations

import os
import re
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ketch.build.contexts.accounts import without_account
from ketch.build.contexts.git_remote import is_git, parse_remote
from ketch.build.contexts.named_contexts import WITH_NAME
from ketch.build.executor import (
    BaseImage,
    CacheEntry,
    CopyPart,
    CopyStep,
    MakeEntry,
    RunOutcome,
    RunStep,
    StepMount,
    Tree,
)
from ketch.build.progress.events import Report
from ketch.engine.builder.contexts.download import Download
from ketch.engine.builder.contexts.layout_image import LayoutImages, parse_place
from ketch.engine.builder.contexts.remote import archive
from ketch.engine.builder.outcome.documents import Material, image_url, layout_url
from ketch.engine.builder.outcome.invocation import git_material, without_password
from ketch.engine.builder.steps.run import StepRunner
from ketch.engine.http_get import chunks
from ketch.engine.images.values import NewImage
from ketch.engine.pipes import fed
from ketch.engine.storing import storing
from ketch.errors import InvalidParameter, NotFound
from ketch.oci import image as configs
from ketch.oci import platform as platforms
from ketch.oci import reference as references

if TYPE_CHECKING:
    from ketch.build.request.options import ImageInput
    from ketch.engine.builder.cache.importing import CacheSources
    from ketch.engine.builder.cache.mount_transfer import MountTransfer
    from ketch.engine.builder.cache.records import BuildCache
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.files import StepFiles
    from ketch.engine.images.values import ImageRecord


_SHORT = re.compile(r"[0-9a-f]{1,11}")


class BuildExecutor:
    """See ``ketch.build.executor.Executor``."""

    def __init__(
        self,
        room: BuildRoom,
        cache: BuildCache,
        runner: StepRunner,
        files: StepFiles,
        sources: CacheSources,
        transfer: MountTransfer,
    ) -> None:
        self._room = room
        self._cache = cache
        self._files = files
        self._runner = runner
        self.sources = sources
        self.transfer = transfer
        self._layouts = LayoutImages(room)
        self.materials: list[Material] = []
        self.used: dict[str, CacheEntry] = {}  # every step of this build, by key

    # images

    async def base(self, reference: str, platform: str, *, pull: bool, report: Report) -> BaseImage:
        """Local, or pulled."""
        record = None if pull else self._local(reference, platform)
        if record is None:
            exact = await self._exact(reference, platform)
            await self._pull(exact, platform, report)
            record = self._local(exact, platform)
        if record is None:
            raise NotFound(
                f"image with reference {reference} was found but does not provide the specified "
                f"platform ({platform})"
            )
        self._room.hold(record.layers)
        self._note(reference, record)
        blob = self._room.parts.images.config_blob(record.id)
        return BaseImage(record.id, blob, record.layers)

    async def describe(self, reference: str, platform: str, *, pull: bool) -> tuple[str, bytes]:
        """The digest and the configuration of an image; no digest of one that is here."""
        images = self._room.parts.images
        record = None if pull else self._local(reference, platform)
        if record is not None:
            return "", images.config_blob(record.id)
        name = references.parse(reference).tagged()
        auth = await self._room.account(name)
        found = await images.describe_remote(str(name), auth)
        wanted = platforms.parse(platform) if platform else platforms.host()
        return found.digest, await images.remote_config(str(name), wanted, auth)

    async def of_layout(self, value: str, platform: str, report: Report) -> BaseImage:
        """Of the client's; not stored as an image."""
        image, digest = await self._layouts.image(value, platform, report)
        found = str(configs.decode(image.config).platform)
        self._use(Material(layout_url(parse_place(value).store, digest, found), digest))
        return image

    def of_input(self, image: ImageInput) -> BaseImage:
        """It has no name, so it is no material of the build's provenance."""
        self._room.hold(image.layers)
        missing = [one for one in image.layers if not self._room.parts.snapshots.has_layer(one)]
        if missing:
            raise NotFound(f"the layer {missing[0]} of another build's result is gone: build again")
        return BaseImage("", image.config, image.layers)

    def _note(self, reference: str, record: ImageRecord) -> None:
        """An image that went into the build: the manifest it came with, or its ID."""
        name = references.parse(reference)
        known = [references.parse(text) for text in record.digests]
        digest = next((each.digest for each in known if each.name == name.name), record.id)
        platform = str(self._room.parts.images.config(record.id).platform)
        uri = image_url(name.familiar_name, name.tag or name.digest or "latest", platform)
        self._use(Material(uri, digest))

    def _use(self, material: Material | None) -> None:
        if material is not None and material not in self.materials:
            self.materials.append(material)

    def _local(self, reference: str, platform: str) -> ImageRecord | None:
        if _SHORT.fullmatch(reference):  # the begin of an ID, but more likely a name
            reference += ":latest"
        try:
            return self._room.parts.images.resolve(reference, platform)
        except NotFound:
            return None

    async def _exact(self, reference: str, platform: str) -> str:
        """By its digest, where the name is that of an image for this machine, or should be: one
        for another platform must not take the name."""
        if not platform or platforms.parse(platform) == platforms.host():
            return reference
        name = references.parse(reference)
        if name.digest:
            return reference
        images = self._room.parts.images
        auth = await self._room.account(name)
        found = await images.describe_remote(reference, auth)
        return str(name.with_digest(found.digest))

    async def _pull(self, reference: str, platform: str, report: Report) -> None:
        auth = await self._room.account(references.parse(reference))
        pulling = self._room.parts.images.pull(reference, platform=platform, auth=auth)
        try:
            async for line in pulling:
                report.status(line.id, line.status, line.current, line.total)
                await self._room.channel.room()
        finally:
            await pulling.aclose()  # type: ignore[attr-defined]

    async def commit(
        self, config: bytes, layers: tuple[str, ...], parent: str, tags: tuple[str, ...] = ()
    ) -> str:
        """Durable when it returns."""
        image = NewImage(config=config, layers=layers, parent=parent, tags=tags)
        return (await self._room.parts.images.create(image)).id

    # the cache

    def mounted(self, mounts: tuple[StepMount, ...]) -> None:
        """Remembered for the cache's exports."""
        self.transfer.used(mounts)

    async def outcome(
        self, key: str, make: MakeEntry, *, reuse: bool, report: Report
    ) -> tuple[CacheEntry, bool]:
        """From the records, if the layer is stored; from a build at the same step; from a source
        that the build names; or made."""
        known = self._cache.get(key) if reuse else None
        if reuse and (known is None or not self._stored(known)):
            imported = await self.sources.find(key)
            if imported is not None:
                self.used[key] = imported
                return imported, True
        entry, hit = await self._cache.outcome(
            key,
            make,
            self._stored,
            reuse=reuse,
            report=report,
            is_crowded=lambda: self._room.channel.is_crowded,
            is_left=lambda: self._room.channel.is_left,
        )
        self.used[key] = entry
        return entry, hit

    def _stored(self, entry: CacheEntry) -> bool:
        if not entry.layer:
            return True
        self._room.hold([entry.layer])
        return self._room.parts.snapshots.has_layer(entry.layer)

    # steps

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        """In a container without a record."""
        return await self._runner.run(step, started, report)

    async def exists(self, tree: Tree, path: str) -> bool:
        """By a worker."""
        return await self._files.exists(tree, path)

    async def directories(self, layers: tuple[str, ...], path: str) -> list[tuple[int, int, int]]:
        """By a worker."""
        return await self._files.directories(layers, path)

    async def checksum(self, part: CopyPart) -> str:
        """By a worker."""
        return await self._files.checksum(part)

    async def copy(self, step: CopyStep) -> str:
        """By workers."""
        return await self._files.copy(step)

    async def make_directory(self, layers: tuple[str, ...], path: str, owner: str = "") -> str:
        """By a worker."""
        return await self._files.make_directory(layers, path, owner)

    async def inline(self, files: tuple[tuple[str, bytes], ...]) -> Tree:
        """Written into the build's own directory."""
        tree = self._new_tree()
        os.chmod(f"{self._room.directory}/{tree.handle}", 0o755)
        with storing("inline files"):
            for name, data in files:
                _write(f"{self._room.directory}/{tree.handle}/{name}", data)
        return tree

    async def fetch(self, url: str, name: str, checksum: str) -> Tree:
        """Downloaded into the build's own directory."""
        tree = self._new_tree()
        if len(os.fsencode(name)) > 255:
            raise InvalidParameter(f"the file name in {url} is longer than 255 bytes")
        path = f"{self._room.directory}/{tree.handle}/{name}"
        digest = await self._room.downloads.fetch(url, path)
        if checksum and digest != checksum:
            raise InvalidParameter(f"digest mismatch of {url}: {digest}, wanted {checksum}")
        self._use(Material(without_password(url), digest))
        return tree

    async def clone(
        self,
        url: str,
        checksum: str,
        *,
        keep_git_dir: bool,
        report: Report,
        keeps_name: bool = False,
        known_hosts: str = "",
    ) -> Tree:
        """By a worker that runs git."""
        remote = parse_remote(url, checksum=checksum, keep_git_dir=keep_git_dir)
        remote = msgspec.structs.replace(remote, known_hosts=known_hosts)
        tree = self._next_tree()
        commit = await self._room.workers.cloner.clone(remote, tree.handle, keeps_name=keeps_name)
        report.note(f"{without_account(remote.url)} is at {commit}\n")
        self._use(git_material(remote.url, remote.ref, commit))
        return tree

    async def unpacked(self, url: str, report: Report) -> Tree:
        """A named context from a URL: a repository, or an archive."""
        bare = url.removeprefix(WITH_NAME)
        if is_git(bare):
            named = bare != url
            return await self.clone(bare, "", keep_git_dir=False, report=report, keeps_name=named)
        tree = self._next_tree()

        async def receive(fd: int) -> object:
            return await self._room.workers.receive(fd, dockerfile="", directory=tree.handle)

        download = Download(url, chunks(url))
        with storing("the build context"):
            await fed(archive(url, download), receive)
        await download.finish()
        self._use(Material(without_password(url), download.digest))
        return tree

    async def secret(self, id: str) -> bytes | None:
        """From the client."""
        return await self._room.offers.secret(id)

    async def has_agent(self, id: str) -> bool:
        """Asked of the client."""
        return await self._room.offers.has_agent(id)

    def _new_tree(self) -> Tree:
        tree = self._next_tree()
        self._room.make_directory(tree.handle)
        return tree

    def _next_tree(self) -> Tree:
        self._room.fetched += 1
        return Tree("fetched", handle=f"fetched-{self._room.fetched}")


def _write(path: str, data: bytes) -> None:
    fd = os.open(path, os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_CLOEXEC, 0o644)
    with os.fdopen(fd, "wb") as file:
        file.write(data)
    os.chmod(path, 0o644)
    os.utime(path, (0, 0))
