"""An OCI layout of the client's that was sent before the build, as a tar archive.

Nothing of it is unpacked: members are read where they lie in the file.
"""

from __future__ import annotations

import asyncio
import os
import tarfile
from collections.abc import AsyncIterator

import msgspec

from ketch.errors import DataCorrupt, NotFound
from ketch.oci import digest as digests
from ketch.oci import strictjson
from ketch.oci.descriptor import Descriptor
from ketch.oci.manifest import Index

_LARGEST = 64 << 20
_PIECE = 1 << 20
_REF = "org.opencontainers.image.ref.name"
_MOST = 100_000  # members


class SentLayout:
    """See the module's docstring and ``ketch.build.request.offers.LayoutSource``."""

    def __init__(self, path: str) -> None:
        self._path = path
        self._members: dict[str, tuple[int, int]] = {}  # name → offset, size

    async def document(self, tag: str, digest: str) -> bytes:
        """See ``LayoutSource``."""
        return await asyncio.to_thread(self._document, tag, digest)

    def _document(self, tag: str, digest: str) -> bytes:
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
        raise NotFound(f"the directory has nothing with the tag {tag!r}")

    async def read(self, blob: Descriptor) -> bytes:
        """See ``LayoutSource``."""
        return await asyncio.to_thread(self._whole, _blob(blob.digest), blob.digest)

    async def pieces(self, blob: Descriptor) -> AsyncIterator[bytes]:
        """See ``LayoutSource``."""
        offset, size = self._place(_blob(blob.digest))
        with open(self._path, "rb", buffering=0) as file:
            end = offset + size
            while offset < end:
                wanted = min(_PIECE, end - offset)
                piece = await asyncio.to_thread(os.pread, file.fileno(), wanted, offset)
                if not piece:
                    raise DataCorrupt(f"the archive ends within {blob.digest}")
                offset += len(piece)
                yield piece

    def _read_members(self) -> None:
        try:
            with tarfile.open(self._path, mode="r:") as archive:
                for number, member in enumerate(archive):
                    if number > _MOST:
                        raise DataCorrupt(f"the directory has more than {_MOST} files")
                    if member.isreg():
                        name = member.name.removeprefix("./")
                        self._members[name] = (member.offset_data, member.size)
        except (tarfile.TarError, EOFError, ValueError) as error:
            raise DataCorrupt(f"malformed archive of a directory: {error}") from None

    def _place(self, name: str) -> tuple[int, int]:
        if name not in self._members:
            raise NotFound(f"the directory lacks {name}")
        return self._members[name]

    def _whole(self, name: str, digest: str = "") -> bytes:
        offset, size = self._place(name)
        if size > _LARGEST:
            raise DataCorrupt(f"{name} of the directory is larger than {_LARGEST} bytes")
        with open(self._path, "rb") as file:
            file.seek(offset)
            data = file.read(size)
        if digest and not digests.matches(data, digest):
            raise DataCorrupt(f"{name} of the directory does not have its digest")
        return data


def _blob(digest: str) -> str:
    return "blobs/" + digests.check(digest).replace(":", "/")
