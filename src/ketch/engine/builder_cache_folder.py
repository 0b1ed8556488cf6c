"""A cache in a directory of the client's (an OCI layout), which comes as a tar archive.

Nothing of it is unpacked: members are read where they lie in the file.
"""

from __future__ import annotations

import tarfile
from typing import IO, BinaryIO, cast

import msgspec

from ketch.errors import DataCorrupt, NotFound
from ketch.oci import digest as digests
from ketch.oci import strictjson
from ketch.oci.descriptor import Descriptor
from ketch.oci.manifest import Index

_LARGEST = 64 << 20
_REF = "org.opencontainers.image.ref.name"
_MOST = 100_000  # members


class CacheFolder:
    """See the module's docstring. Blocks. Raises ``DataCorrupt`` and ``NotFound``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._members: dict[str, tuple[int, int]] = {}  # name → offset, size

    def manifest(self, tag: str, digest: str) -> bytes:
        """The document of a tag, or the one of a digest."""
        self._read_members()
        if digest:
            return self._whole(_blob(digest), digest)
        data = self._whole("index.json")
        strictjson.check(data, "index.json")
        try:
            index = msgspec.json.decode(data, type=Index)
        except (msgspec.DecodeError, ValueError, RecursionError) as error:
            raise DataCorrupt(f"malformed index.json: {error}") from None
        for entry in index.manifests:
            if (entry.annotations or {}).get(_REF, "latest") == tag:
                return self._whole(_blob(entry.digest), entry.digest)
        raise NotFound(f"the directory has no cache with the tag {tag!r}")

    def read(self, blob: Descriptor) -> bytes:
        """A small blob."""
        return self._whole(_blob(blob.digest), blob.digest)

    def open(self, blob: Descriptor) -> BinaryIO:
        """A blob's bytes; whoever reads them checks them."""
        offset, size = self._place(_blob(blob.digest))
        return cast(BinaryIO, _Part(open(self._path, "rb"), offset, size))

    def _read_members(self) -> None:
        try:
            with tarfile.open(self._path, mode="r:") as archive:
                for number, member in enumerate(archive):
                    if number > _MOST:
                        raise DataCorrupt(f"the cache has more than {_MOST} files")
                    if member.isreg():
                        name = member.name.removeprefix("./")
                        self._members[name] = (member.offset_data, member.size)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise DataCorrupt(f"malformed archive of a cache: {error}") from None

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._members:
            raise NotFound(f"the directory of the cache lacks {name}")
        return self._members[name]

    def _whole(self, name: str, digest: str = "") -> bytes:
        offset, size = self._place(name)
        if size > _LARGEST:
            raise DataCorrupt(f"{name} of the cache is larger than {_LARGEST} bytes")
        with open(self._path, "rb") as file:
            file.seek(offset)
            data = file.read(size)
        if digest and not digests.matches(data, digest):
            raise DataCorrupt(f"{name} of the cache does not have its digest")
        return data


class _Part:
    """Some bytes of a file."""

    def __init__(self, file: IO[bytes], offset: int, size: int) -> None:
        file.seek(offset)
        self._file = file
        self._left = size

    def __enter__(self) -> _Part:
        return self

    def __exit__(self, *_: object) -> None:
        self._file.close()

    def read(self, size: int = -1) -> bytes:
        data = self._file.read(min(size, self._left) if size >= 0 else self._left)
        self._left -= len(data)
        return data


def _blob(digest: str) -> str:
    return "blobs/" + digests.check(digest).replace(":", "/")
