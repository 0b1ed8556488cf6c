"""Removing images by Docker's rules, and in its words.

A name that is not the last one is only taken away. An image goes with its last name, and so do the
other platforms of it, unless a container or another image is made of them; untagged parents follow.
The record goes first; layers are collected after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Sequence

from ketch.engine.containers.record import ContainerRecord
from ketch.engine.filters import Filters
from ketch.engine.images.gc import Collector
from ketch.engine.images.index import StoredIndex
from ketch.engine.images.indexes import Indexes
from ketch.engine.images.list import ImageFilters
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.store import StoredImage
from ketch.engine.images.values import ImagePruneReport, Removed
from ketch.errors import Conflict
from ketch.oci import digest as digests
from ketch.oci.reference import Reference, parse


class Remover:
    """See the module's docstring."""

    def __init__(
        self, parts: ImageParts, collector: Collector, filters: ImageFilters, indexes: Indexes
    ) -> None:
        self._parts = parts
        self._store = parts.store
        self._collector = collector
        self._filters = filters
        self._indexes = indexes

    async def remove(self, ref: str, *, force: bool, prune: bool) -> tuple[Removed, ...]:
        """See ``Images.remove``."""
        image = self._store.resolve(ref)
        if self._store.is_id(ref, image):
            removed = self._remove_by_id(image, force, prune)
        else:
            removed = self._remove_name(image, parse(ref).tagged(), force, prune)
        return await self._collected(removed)

    async def _collected(self, removed: list[Removed]) -> tuple[Removed, ...]:
        if any(line.deleted for line in removed):
            await self._collector.collect()
        return tuple(removed)

    async def remove_platforms(
        self, ref: str, platforms: Sequence[str], *, force: bool
    ) -> tuple[Removed, ...]:
        """See ``Images.remove``."""
        gone = {self._indexes.image(ref, platform).id for platform in platforms}
        index = self._store.index_of(ref, self._store.resolve(ref))
        left = [image for image in index.images if image.id not in gone] if index else []
        if index is None or not left:
            return await self.remove(ref, force=force, prune=True)
        for image_id in gone:
            for user in self._users(self._store.get(image_id)):
                if user.state.running or not force:
                    how = "cannot be forced" if user.state.running else "must be forced"
                    raise Conflict(
                        f"conflict: unable to delete {digests.short(image_id)} ({how}) - container"
                        f" {user.id[:12]} is using its referenced image"
                    )
        return await self._collected(self._shrink(self._indexes.without(index, gone), gone))

    def _shrink(self, index: StoredIndex, gone: set[str]) -> list[Removed]:
        self._store.shrink(index, [])
        return [
            line
            for image_id in sorted(gone)
            if self._is_free(self._store.get(image_id))
            for line in self._delete(self._store.get(image_id), prune=True)
        ]

    def _is_free(self, image: StoredImage) -> bool:
        """Whether no name leads to an image, and nothing is in the way of its removal."""
        named = self._store.names(image.id)
        return not named and not self._in_the_way(image, force=True)

    def _remove_name(
        self, image: StoredImage, name: Reference, force: bool, prune: bool
    ) -> list[Removed]:
        names = self._store.names(image.id)
        gone = _with_digests(name, names)
        last = len(gone) == len(names)
        freed = [*([image] if last else []), *self._platforms(gone)]
        if not force:
            self._check_unused(name, freed)
        removed = self._untag(image, gone)
        for each in freed:
            if not self._in_the_way(each, force=True):
                removed += self._delete(each, prune)
        return removed

    def _check_unused(self, name: Reference, images: list[StoredImage]) -> None:
        for image in images:
            if user := next(iter(self._users(image)), None):
                raise Conflict(
                    f"conflict: unable to delete {name.familiar} (must be forced) - container"
                    f" {user.id[:12]} is using its referenced image {digests.short(image.id)}"
                )

    def _platforms(self, gone: Iterable[Reference]) -> list[StoredImage]:
        """Images that are there as other platforms of these names alone."""
        gone = set(gone)
        found = [self._store.index(name) for name in gone]
        kept = {
            image.id
            for name, index in self._store.indexes_by_name().items()
            if name not in gone
            for image in index.images
        }
        return [
            self._store.get(image_id)
            for image_id in dict.fromkeys(i.id for index in found if index for i in index.images)
            if image_id not in kept and image_id in self._store and not self._store.names(image_id)
        ]

    def _remove_by_id(self, image: StoredImage, force: bool, prune: bool) -> list[Removed]:
        names = self._store.names(image.id)
        others = self._platforms(names)
        for each in (image, *others):
            if reason := self._in_the_way(each, force=force):
                fixed = self._in_the_way(each, force=True)
                how = "cannot be forced" if fixed else "must be forced"
                raise Conflict(
                    f"conflict: unable to delete {digests.short(image.id)} ({how}) - {reason}"
                )
        removed = self._untag(image, names)
        for each in (image, *others):
            removed += self._delete(each, prune)
        return removed

    def _in_the_way(self, image: StoredImage, *, force: bool) -> str:
        """Why the image can't be deleted; "" when it can."""
        names = self._store.names(image.id)
        if not names and (holder := self._store.holder(image.id)):
            return f"image is a platform of {holder.familiar}: remove that with --platform"
        if self._store.children(image.id):
            return "image has dependent child images"
        users = self._users(image)
        for user in users:
            if user.state.running:
                return f"image is being used by running container {user.id[:12]}"
        if force:
            return ""
        if len({name.name for name in names}) > 1 or _tags(names) > 1:
            return "image is referenced in multiple repositories"
        return f"image is being used by stopped container {users[0].id[:12]}" if users else ""

    def _users(self, image: StoredImage) -> list[ContainerRecord]:
        return [user for user in self._parts.containers() if user.image_id == image.id]

    def _untag(self, image: StoredImage, names: Iterable[Reference]) -> list[Removed]:
        names = list(names)
        self._store.remove(names)
        for name in names:
            self._parts.publish("untag", image.id, name.familiar)
        return [Removed(untagged=name.familiar) for name in names]

    def _delete(self, image: StoredImage, prune: bool) -> list[Removed]:
        """Forget the record, and with ``prune`` its parents that nothing needs any more."""
        removed = []
        line = image if image.id in self._store else None
        while line is not None:
            self._store.remove([], [line.id])
            self._parts.publish("delete", line.id, line.id)
            removed.append(Removed(deleted=line.id))
            parent = line.parent if prune and line.parent in self._store else ""
            line = self._store.get(parent) if parent else None
            if line and (self._store.names(line.id) or self._in_the_way(line, force=False)):
                line = None
        return removed

    async def prune(self, filters: Filters) -> ImagePruneReport:
        """See ``Images.prune``."""
        all_unused, chosen = self._filters.for_prune(filters)
        removed: list[Removed] = []
        for image in chosen:
            if image.id not in self._store or self._store.children(image.id):
                continue
            names = self._store.names(image.id)
            if (_tags(names) and not all_unused) or (not names and self._store.holder(image.id)):
                continue
            whole = [image, *self._platforms(names)]
            if any(self._users(each) for each in whole):
                continue
            removed += self._untag(image, names)
            for each in whole:
                removed += self._delete(each, prune=True)
        reclaimed = await self._collector.collect() if removed else 0
        if all_unused:
            reclaimed += await asyncio.to_thread(self._parts.content.sweep_ingests, 0)
        self._parts.events.pruned("image", reclaimed)
        return ImagePruneReport(removed=tuple(removed), reclaimed=reclaimed)


def _tags(names: Iterable[Reference]) -> int:
    return sum(1 for name in names if name.tag)


def _with_digests(name: Reference, names: list[Reference]) -> list[Reference]:
    """The name, and the digests of its repository when it was the repository's last tag."""
    if name.tag and name.digest:
        name = name.with_digest(name.digest)
    siblings = [other for other in names if other.name == name.name]
    tags_left = [other for other in siblings if other.tag and other != name]
    if tags_left or name.digest:
        return [name]
    return [name, *(other for other in siblings if other.digest)]
