"""The images' records and names: in memory for reading, in SQLite before anything is acknowledged.

Three tables: what an image is made of (``images``), which names lead to it (``image_references``;
the keys are whole references with a tag or a digest), and the index that a name stands for, if it
is one (``images.indexes``). Only this module writes them.
"""

from __future__ import annotations

import re
import time
from collections.abc import Iterable, Iterator

import msgspec

from ketch.engine.images.index import StoredIndex, merged
from ketch.engine.images.values import ImageRecord
from ketch.errors import InvalidParameter, NotFound
from ketch.oci import reference as references
from ketch.oci.reference import Reference
from ketch.state.database import Database, Table

_HEX = re.compile(r"(sha256:)?([0-9a-f]{1,64})")


class StoredImage(msgspec.Struct, frozen=True, kw_only=True):
    """What an image is made of.

    ``manifest`` is the digest of a manifest in the content store ("" = none was ever served), with
    the ``blobs`` that it names; they may or may not be stored.
    """

    id: str
    layers: tuple[str, ...]
    created_at: int = 0
    size: int = 0
    parent: str = ""
    manifest: str = ""
    blobs: tuple[str, ...] = ()
    tagged_at: int = 0


class ImageStore:
    """See the module's docstring."""

    def __init__(self, database: Database) -> None:
        self._database = database
        self._images: Table[StoredImage] = Table(database, "images", StoredImage)
        self._references: Table[str] = Table(database, "image_references", str)
        self._indexes: Table[StoredIndex] = Table(database, "image_indexes", StoredIndex)
        self._known = self._images.all()
        self._index_of = {references.parse(k): v for k, v in self._indexes.all().items()}
        self._names = {
            references.parse(text): image_id for text, image_id in self._references.all().items()
        }

    # reading

    def __iter__(self) -> Iterator[StoredImage]:
        return iter(tuple(self._known.values()))

    def __contains__(self, image_id: object) -> bool:
        return image_id in self._known

    def get(self, image_id: str) -> StoredImage:
        """The image of a full ID; raises ``NotFound``."""
        try:
            return self._known[image_id]
        except KeyError:
            raise NotFound(f"No such image: {image_id}") from None

    def record(self, image: StoredImage) -> ImageRecord:
        """The image with its names, as others see it."""
        names = self.names(image.id)
        return ImageRecord(
            id=image.id,
            layers=image.layers,
            created_at=image.created_at,
            size=image.size,
            tags=tuple(name.familiar for name in names if not name.digest),
            digests=tuple(name.familiar for name in names if name.digest),
            parent=image.parent,
        )

    def names(self, image_id: str) -> list[Reference]:
        """The names of an image, sorted."""
        return sorted(name for name, target in self._names.items() if target == image_id)

    def all_names(self) -> dict[Reference, str]:
        """Every name and the ID it leads to."""
        return dict(self._names)

    def index(self, name: Reference) -> StoredIndex | None:
        """The index of several platforms or with attestations that a name stands for."""
        return self._index_of.get(name)

    def indexes(self) -> list[StoredIndex]:
        """All of them."""
        return list(self._index_of.values())

    def indexes_by_name(self) -> dict[Reference, StoredIndex]:
        """All of them, and the names that stand for them."""
        return dict(self._index_of)

    def index_of(self, ref: str, image: StoredImage) -> StoredIndex | None:
        """The index that ``ref``, which found ``image``, stands for; of an ID, the one that a name
        of the image stands for."""
        if not self.is_id(ref, image):
            name = references.parse(ref).tagged()
            return self.index(name.with_digest(name.digest) if name.digest else name)
        found = (self.index(name) for name in self.names(image.id))
        return next((index for index in found if index is not None), None)

    def unnamed(self) -> set[str]:
        """IDs of images to which no name leads, but to another platform of them."""
        members = {image.id for index in self._index_of.values() for image in index.images}
        return members - set(self._names.values())

    def holder(self, image_id: str) -> Reference | None:
        """A name that stands for an index with this image."""
        for name, index in sorted(self._index_of.items(), key=lambda item: item[0]):
            if any(image.id == image_id for image in index.images):
                return name
        return None

    def children(self, image_id: str) -> list[StoredImage]:
        """Images made from this one."""
        return [image for image in self if image.parent == image_id]

    def by_name(self, name: Reference) -> StoredImage | None:
        """The image of a name with a tag or a digest."""
        if name.tag and name.digest:
            name = name.with_digest(name.digest)
        target = self._names.get(name)
        return self._known.get(target) if target else None

    def resolve(self, ref: str) -> StoredImage:
        """The image of a name, an ID or a prefix of one; raises ``NotFound``.

        A name wins over a prefix, a whole ID over a name.
        """
        whole = ref if ref.startswith("sha256:") else f"sha256:{ref}"
        if whole in self._known:
            return self._known[whole]
        try:
            name = references.parse(ref).tagged()
        except InvalidParameter:
            if not _HEX.fullmatch(ref):
                raise
            name = None
        found = (name and self.by_name(name)) or self._by_prefix(ref)
        if found is None:
            raise NotFound(f"No such image: {name.familiar if name else ref}")
        return found

    def _by_prefix(self, ref: str) -> StoredImage | None:
        match = _HEX.fullmatch(ref)
        if match is None:
            return None
        prefix = f"sha256:{match[2]}"
        matching = [image for key, image in self._known.items() if key.startswith(prefix)]
        if len(matching) > 1:
            raise InvalidParameter(f"image ID prefix {ref} is ambiguous: give more of its digits")
        return matching[0] if matching else None

    def is_id(self, ref: str, image: StoredImage) -> bool:
        """Whether ``ref`` found ``image`` by its ID or a prefix of it, and not by a name."""
        match = _HEX.fullmatch(ref)
        if match is None or not image.id.startswith(f"sha256:{match[2]}"):
            return False
        if image.id in (ref, f"sha256:{ref}"):
            return True
        try:
            return self.by_name(references.parse(ref).tagged()) is None
        except InvalidParameter:
            return True

    # writing

    def put(
        self,
        image: StoredImage,
        names: Iterable[Reference] = (),
        index: StoredIndex | None = None,
        others: Iterable[StoredImage] = (),
    ) -> list[Reference]:
        """Store an image and lead names to it, in one transaction; the names that moved here.

        The names stand for ``index`` then, or for none any more. An index that is here already, of
        other platforms, has both afterwards, under all its names; they lead to its primary image.
        ``others`` are more images of the index.

        What is stored of an image that is there already is kept where the new one says nothing.
        """
        wanted, target = list(names), image.id
        if index is not None:
            known = self._named_so(index.root.digest)
            index = merged(self._index_of[known[0]] if known else None, index)
            wanted = list(dict.fromkeys((*wanted, *known)))
            target = index.primary or target
        images = [self._merged(each, bool(wanted)) for each in (image, *others)]
        return self._write(images, wanted, target, index)

    def _write(
        self,
        images: list[StoredImage],
        names: list[Reference],
        target: str,
        index: StoredIndex | None,
    ) -> list[Reference]:
        changed = [name for name in names if self._names.get(name) != target]
        news = changed or any(self._index_of.get(name) != index for name in names)
        news = news or any(map(self._is_news, images))
        with self._database.transaction(durable=bool(news)):
            for image in images:
                self._images.put(image.id, image)
            for name in changed:
                self._references.put(str(name), target)
            for name in names:
                self._store_index(name, index)
        self._known.update({image.id: image for image in images})
        self._names.update(dict.fromkeys(changed, target))
        for name in names:
            self._know_index(name, index)
        return changed

    def _is_news(self, image: StoredImage) -> bool:
        """Whether more changes than when it was tagged last."""
        old = self._known.get(image.id)
        return old is None or msgspec.structs.replace(image, tagged_at=old.tagged_at) != old

    def _named_so(self, root: str) -> list[Reference]:
        """Names that stand for the index with this digest."""
        return [name for name, index in self._index_of.items() if index.root.digest == root]

    def shrink(self, index: StoredIndex, image_ids: Iterable[str]) -> None:
        """Less is here of an index, which has one image at least, under all its names; images that
        went with the rest are forgotten, in one transaction."""
        names, gone = self._named_so(index.root.digest), list(image_ids)
        with self._database.transaction():
            for name in names:
                self._references.put(str(name), index.primary)
                self._indexes.put(str(name), index)
            for image_id in gone:
                self._images.delete(image_id)
        self._names.update(dict.fromkeys(names, index.primary))
        self._index_of.update(dict.fromkeys(names, index))
        for image_id in gone:
            self._known.pop(image_id, None)

    def _store_index(self, name: Reference, index: StoredIndex | None) -> None:
        if index is not None:
            self._indexes.put(str(name), index)
        elif name in self._index_of:
            self._indexes.delete(str(name))

    def _know_index(self, name: Reference, index: StoredIndex | None) -> None:
        if index is not None:
            self._index_of[name] = index
        else:
            self._index_of.pop(name, None)

    def _merged(self, image: StoredImage, tagged: bool) -> StoredImage:
        old = self._known.get(image.id)
        if old is not None:
            image = msgspec.structs.replace(
                image,
                parent=image.parent or old.parent,
                manifest=image.manifest or old.manifest,
                blobs=image.blobs or old.blobs,
                tagged_at=old.tagged_at,
            )
        return msgspec.structs.replace(image, tagged_at=time.time_ns()) if tagged else image

    def remove(self, names: Iterable[Reference], image_ids: Iterable[str] = ()) -> None:
        """Forget names, and images with whatever names they have left, in one transaction."""
        gone = list(image_ids)
        doomed = {*names, *(name for name, target in self._names.items() if target in gone)}
        with self._database.transaction():
            for name in doomed:
                self._references.delete(str(name))
                self._store_index(name, None)
            for image_id in gone:
                self._images.delete(image_id)
        for name in doomed:
            self._names.pop(name, None)
            self._know_index(name, None)
        for image_id in gone:
            self._known.pop(image_id, None)
