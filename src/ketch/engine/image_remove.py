"""Removing images by Docker's rules, and in its words.

A name that is not the last one is only taken away. An image goes with its last name, unless a
container or another image is made of it; its untagged parents follow. The record goes first; layers
are collected after it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable

from ketch.engine.container_record import ContainerRecord
from ketch.engine.filters import Filters
from ketch.engine.image_gc import Collector
from ketch.engine.image_list import ImageFilters
from ketch.engine.image_parts import ImageParts
from ketch.engine.image_store import StoredImage
from ketch.engine.image_values import ImagePruneReport, Removed
from ketch.errors import Conflict
from ketch.oci import digest as digests
from ketch.oci.reference import Reference, parse


class Remover:
    """See the module's docstring."""

    def __init__(self, parts: ImageParts, collector: Collector, filters: ImageFilters) -> None:
        self._parts = parts
        self._store = parts.store
        self._collector = collector
        self._filters = filters

    async def remove(self, ref: str, *, force: bool, prune: bool) -> tuple[Removed, ...]:
        """See ``Images.remove``."""
        image = self._store.resolve(ref)
        if self._store.is_id(ref, image):
            removed = self._remove_by_id(image, force, prune)
        else:
            removed = self._remove_name(image, parse(ref).tagged(), force, prune)
        if any(line.deleted for line in removed):
            await self._collector.collect()
        return tuple(removed)

    def _remove_name(
        self, image: StoredImage, name: Reference, force: bool, prune: bool
    ) -> list[Removed]:
        names = self._store.names(image.id)
        gone = _with_digests(name, names)
        last = len(gone) == len(names)
        if last and not force and (user := next(iter(self._users(image)), None)):
            raise Conflict(
                f"conflict: unable to delete {name.familiar} (must be forced) - container"
                f" {user.id[:12]} is using its referenced image {digests.short(image.id)}"
            )
        removed = self._untag(image, gone)
        if not last or self._in_the_way(image, force=True):
            return removed
        return removed + self._delete(image, prune)

    def _remove_by_id(self, image: StoredImage, force: bool, prune: bool) -> list[Removed]:
        if reason := self._in_the_way(image, force=force):
            how = "cannot be forced" if self._in_the_way(image, force=True) else "must be forced"
            raise Conflict(
                f"conflict: unable to delete {digests.short(image.id)} ({how}) - {reason}"
            )
        removed = self._untag(image, self._store.names(image.id))
        return removed + self._delete(image, prune)

    def _in_the_way(self, image: StoredImage, *, force: bool) -> str:
        """Why the image can't be deleted; "" when it can."""
        if self._store.children(image.id):
            return "image has dependent child images"
        users = self._users(image)
        for user in users:
            if user.state.running:
                return f"image is being used by running container {user.id[:12]}"
        if force:
            return ""
        repositories = {name.name for name in self._store.names(image.id)}
        if len(repositories) > 1 or _tags(self._store.names(image.id)) > 1:
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
        line: StoredImage | None = image
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
            if image.id not in self._store or self._users(image):
                continue
            names = self._store.names(image.id)
            if self._store.children(image.id) or (_tags(names) and not all_unused):
                continue
            removed += self._untag(image, names) + self._delete(image, prune=True)
        reclaimed = await self._collector.collect() if removed else 0
        if all_unused:
            reclaimed += await asyncio.to_thread(self._parts.content.sweep_ingests, 0)
        if removed:
            self._parts.publish("prune", "", "", reclaimed=str(reclaimed))
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
