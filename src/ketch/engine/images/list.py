"""Which images: filters of list and prune, sizes, history."""

from __future__ import annotations

import fnmatch
from collections import Counter, defaultdict
from collections.abc import Callable

import msgspec

from ketch.engine.filters import Filters, instant, labels_match
from ketch.engine.images.configs import Configs
from ketch.engine.images.indexes import Users
from ketch.engine.images.parts import ImageParts
from ketch.engine.images.store import StoredImage
from ketch.engine.images.values import HistoryLine, ImageRecord, ImageSummary, Manifests
from ketch.errors import InvalidParameter, NotFound
from ketch.oci import image as images
from ketch.oci import reference as references

_LIST_KEYS = frozenset({"dangling", "label", "before", "since", "reference", "until", "label!"})
_PRUNE_KEYS = frozenset({"dangling", "label", "label!", "until"})
_TRUE = frozenset({"1", "true", "True", "TRUE", "t", "T"})
_FALSE = frozenset({"0", "false", "False", "FALSE", "f", "F"})

Test = Callable[[StoredImage], bool]


class ImageFilters:
    """Chooses images by Docker's filters."""

    def __init__(self, parts: ImageParts, configs: Configs) -> None:
        self._store = parts.store
        self._configs = configs

    def for_list(self, filters: Filters) -> list[StoredImage]:
        """Images that all keys let through, newest first; raises ``InvalidParameter``."""
        _check_keys(filters, _LIST_KEYS)
        tests = self._tests(filters)
        if (dangling := _dangling(filters)) is not None:
            tests.append(lambda image: self.is_dangling(image) == dangling)
        return self._chosen(tests)

    def for_prune(self, filters: Filters) -> tuple[bool, list[StoredImage]]:
        """Whether tagged images go too, and the images that the other keys let through."""
        _check_keys(filters, _PRUNE_KEYS)
        return _dangling(filters) is False, self._chosen(self._tests(filters))

    def shown(self, image: StoredImage, filters: Filters) -> ImageRecord:
        """An image as a list shows it: with ``reference``, only the names that were asked for."""
        record = self._store.record(image)
        patterns = filters.get("reference", ())
        if not patterns:
            return record
        names = [
            name
            for name in self._store.names(image.id)
            if any(_matches(name, pattern) for pattern in patterns)
        ]
        return msgspec.structs.replace(
            record,
            tags=tuple(name.familiar for name in names if not name.digest),
            digests=tuple(name.familiar for name in names if name.digest),
        )

    def is_dangling(self, image: StoredImage) -> bool:
        """Whether it has no tag, and is no platform of something that has a name."""
        names = self._store.names(image.id)
        return not any(name.tag for name in names) and image.id not in self._store.unnamed()

    def _chosen(self, tests: list[Test]) -> list[StoredImage]:
        found = [image for image in self._store if all(test(image) for test in tests)]
        return sorted(found, key=lambda image: (-image.created_at, image.id))

    def _tests(self, filters: Filters) -> list[Test]:
        """One test per value, all of which must hold, but for ``reference``: any pattern."""
        makers: dict[str, Callable[[str], Test]] = {
            "label": self._labelled,
            "label!": lambda label: _not(self._labelled(label)),
            "until": lambda text: _older_than(instant(text)),
            "before": lambda ref: _older_than(self._store.resolve(ref).created_at),
            "since": lambda ref: _not(_older_than(self._store.resolve(ref).created_at + 1)),
        }
        tests = [make(value) for key, make in makers.items() for value in filters.get(key, ())]
        if patterns := filters.get("reference", ()):
            tests.append(lambda image: any(self._named(image, pattern) for pattern in patterns))
        return tests

    def _labelled(self, label: str) -> Test:
        return lambda image: labels_match(self._configs.get(image.id).run.labels or {}, (label,))

    def _named(self, image: StoredImage, pattern: str) -> bool:
        return any(_matches(name, pattern) for name in self._store.names(image.id))


class Lister:
    """Lists images and tells their history."""

    def __init__(self, parts: ImageParts, configs: Configs, filters: ImageFilters) -> None:
        self._parts = parts
        self._configs = configs
        self._filters = filters

    def summaries(
        self,
        filters: Filters,
        *,
        all: bool,
        shared_size: bool,
        tell: Callable[[StoredImage, Users], Manifests | None],
    ) -> tuple[ImageSummary, ...]:
        """See ``Images.list``; reads small files. ``tell`` tells about manifests."""
        chosen = self._filters.for_list(filters)
        if not all:
            hidden = self._parts.store.unnamed()
            chosen = [i for i in chosen if i.id not in hidden and not self._intermediate(i)]
        users = self.users()
        layers = Counter(layer for image in self._parts.store for layer in set(image.layers))
        return tuple(
            ImageSummary(
                record=self._filters.shown(image, filters),
                labels=self._configs.get(image.id).run.labels or {},
                shared_size=self._shared(image, layers) if shared_size else -1,
                containers=tuple(users.get(image.id, ())),
                manifests=tell(image, users),
            )
            for image in chosen
        )

    def users(self) -> Users:
        """IDs of containers by the ID of their image."""
        used: defaultdict[str, list[str]] = defaultdict(list)
        for container in self._parts.containers():
            used[container.image_id].append(container.id)
        return used

    def _intermediate(self, image: StoredImage) -> bool:
        store = self._parts.store
        return not store.names(image.id) and bool(store.children(image.id))

    def _shared(self, image: StoredImage, users: Counter[str]) -> int:
        return sum(self.layer_size(layer) for layer in set(image.layers) if users[layer] > 1)

    def layer_size(self, diff_id: str) -> int:
        """Bytes of a layer's files; 0 when it is not stored."""
        try:
            return self._parts.snapshots.layer(diff_id).size
        except NotFound:
            return 0

    def history(self, image: StoredImage) -> tuple[HistoryLine, ...]:
        """The steps, newest first. Only the top has an ID and tags."""
        config = self._configs.get(image.id)
        layers = iter(config.diff_ids)
        lines = []
        for step in config.history or ():
            layer = "" if step.empty_layer else next(layers, "")
            lines.append(
                HistoryLine(
                    created_at=images.parse_time(step.created or ""),
                    created_by=step.created_by or "",
                    size=self.layer_size(layer) if layer else 0,
                    comment=step.comment or "",
                )
            )
        lines += [HistoryLine(created_at=0, created_by="", size=self.layer_size(x)) for x in layers]
        if not lines:
            lines = [HistoryLine(created_at=image.created_at, created_by="")]
        return self._topped(image, lines[::-1])

    def _topped(self, image: StoredImage, lines: list[HistoryLine]) -> tuple[HistoryLine, ...]:
        top = lines[0]
        record = self._parts.store.record(image)
        first = HistoryLine(
            created_at=top.created_at,
            created_by=top.created_by,
            id=image.id,
            size=top.size,
            comment=top.comment,
            tags=record.tags,
        )
        return (first, *lines[1:])


def _not(test: Test) -> Test:
    return lambda image: not test(image)


def _older_than(instant: int) -> Test:
    return lambda image: image.created_at < instant


def _check_keys(filters: Filters, known: frozenset[str]) -> None:
    for key in filters:
        if key not in known:
            raise InvalidParameter(f"invalid filter '{key}'")


def _dangling(filters: Filters) -> bool | None:
    values = filters.get("dangling", ())
    if not values:
        return None
    if len(values) == 1 and values[0] in _TRUE | _FALSE:
        return values[0] in _TRUE
    raise InvalidParameter(f"invalid filter 'dangling=[{' '.join(values)}]'")


def _matches(name: references.Reference, pattern: str) -> bool:
    """Docker's ``reference`` filter: a glob over the familiar name, with or without the tag."""
    return any(
        _glob(text, pattern) for text in (name.familiar, name.familiar_name, str(name), name.name)
    )


def _glob(text: str, pattern: str) -> bool:
    """Go's ``path.Match``: a star does not cross a slash."""
    texts, patterns = text.split("/"), pattern.split("/")
    return len(texts) == len(patterns) and all(
        fnmatch.fnmatchcase(part, glob) for part, glob in zip(texts, patterns, strict=True)
    )
