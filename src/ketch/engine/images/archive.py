"""Reading an image archive, which nobody vouches for: its members, sorted by what they are.

The archive comes as one stream, layers before the documents that name them. So layers go to the
snapshotter's workers as they pass (nothing is written twice), compressed layers to the content
store, and documents are kept in memory within bounds. No name of the archive ever becomes a path.
"""

from __future__ import annotations

import asyncio
import os
import posixpath
import re
import threading
from collections.abc import Callable
from dataclasses import dataclass, field

from ketch.content.store import ContentStore
from ketch.engine.images.parts import IngestLayer
from ketch.errors import DataCorrupt, InvalidParameter
from ketch.layers.compression import decompressed, detect
from ketch.layers.entry import Entry, shown
from ketch.layers.streams import write_all
from ketch.layers.tarread import TarReader
from ketch.oci import digest as digests
from ketch.oci.image import LARGEST_CONFIG
from ketch.snapshots.protocol import LayerInfo

_BLOB = re.compile(r"blobs/(sha256|sha512)/([0-9a-f]+)")
_MOST_DOCUMENTS = 64 << 20  # bytes of all
_MOST_MEMBERS = 100_000
_MOST_LINKS = 10
_HEAD = 512
_PIECE = 1 << 20

Tell = Callable[[str, int, int], None]
"""Called with a layer's short name, the bytes read of it, and its size."""


@dataclass(slots=True)
class Members:
    """What an archive holds, by normalised path.

    ``documents``: small files; ``layers``: uncompressed layers, stored; ``blobs``: digests of
    compressed ones, and of what is long, in the content store; ``links``: from a path to another.
    """

    documents: dict[str, bytes] = field(default_factory=dict)
    layers: dict[str, LayerInfo] = field(default_factory=dict)
    blobs: dict[str, str] = field(default_factory=dict)
    links: dict[str, str] = field(default_factory=dict)

    def find(self, path: str) -> str:
        """The path that ``path`` leads to through the archive's links."""
        path = normalised(path)
        for _ in range(_MOST_LINKS):
            if path not in self.links:
                return path
            path = self.links[path]
        raise DataCorrupt(f"the archive's links lead in circles at {path[:100]!r}")

    def document(self, path: str) -> bytes | None:
        """A small file; None when it is not there.

        Raises ``DataCorrupt`` when its name is a digest and its bytes have another.
        """
        place = self.find(path)
        data = self.documents.get(place)
        digest = blob_digest(place)
        if data is not None and digest and not digests.matches(data, digest):
            raise DataCorrupt(f"the archive's {place} has other bytes than its name says")
        return data

    def __contains__(self, path: str) -> bool:
        place = self.find(path)
        return place in self.documents or place in self.layers or place in self.blobs


class ArchiveReader:
    """Reads one archive in a thread; ``ingest`` runs on the loop."""

    def __init__(
        self,
        content: ContentStore,
        ingest: IngestLayer,
        tell: Tell,
        loop: asyncio.AbstractEventLoop,
    ) -> None:
        self._content = content
        self._ingest = ingest
        self._tell = tell
        self._loop = loop
        self._members = Members()
        self._kept = 0
        self._count = 0

    def read(self, fd: int) -> Members:
        """Read the stream of ``fd``, compressed or not, and close it.

        Raises ``DataCorrupt`` and ``InvalidParameter`` for bad archives.
        """
        with os.fdopen(fd, "rb", buffering=0) as raw:
            try:
                self._read(TarReader(decompressed(raw)))
            except DataCorrupt as error:
                if self._count:
                    raise
                raise DataCorrupt(f"this is not a tar archive: {error}") from None
        return self._members

    def _read(self, reader: TarReader) -> None:
        for entry in reader:
            self._count += 1
            if self._count > _MOST_MEMBERS:
                raise InvalidParameter(f"the archive has more than {_MOST_MEMBERS} members")
            self._member(reader, entry)

    def _member(self, reader: TarReader, entry: Entry) -> None:
        path = normalised(entry.name.decode("utf-8", "surrogateescape"))
        if entry.link and not entry.is_file and not entry.is_dir:
            self._link(path, entry)
        elif entry.is_file:
            if path in self._members:
                raise DataCorrupt(f"the archive holds {shown(entry.name)} twice: refused")
            self._file(reader, entry, path)

    def _link(self, path: str, entry: Entry) -> None:
        target = entry.link.decode("utf-8", "surrogateescape")
        if not entry.hardlink:
            target = posixpath.join(posixpath.dirname(path), target)
        self._members.links[path] = normalised(target)

    def _file(self, reader: TarReader, entry: Entry, path: str) -> None:
        head = b""
        while len(head) < min(_HEAD, entry.size):
            head += reader.read(_HEAD - len(head))
        if detect(head[:6]) != "none":
            self._blob(reader, path, head)
        elif _may_be_tar(head, entry.size):
            self._layer(reader, entry, path, head)
        else:
            self._document(reader, entry, path, head)

    def _document(self, reader: TarReader, entry: Entry, path: str, head: bytes) -> None:
        if entry.size > LARGEST_CONFIG and blob_digest(path):  # a long attestation
            self._blob(reader, path, head)
            return
        self._kept += entry.size
        if entry.size > LARGEST_CONFIG or self._kept > _MOST_DOCUMENTS:
            raise InvalidParameter(
                f"the archive's {shown(entry.name)} is neither a layer nor a small document"
            )
        pieces = [head]
        reader.copy_to(pieces.append)
        self._members.documents[path] = b"".join(pieces)

    def _blob(self, reader: TarReader, path: str, head: bytes) -> None:
        digest = blob_digest(path)
        if digest and self._content.has(digest):
            reader.copy_to(lambda _: None)
            self._members.blobs[path] = digest
            return
        with self._content.ingest() as ingest:
            ingest.write(head)
            reader.copy_to(ingest.write)
            found = ingest.commit("" if digest.startswith("sha512") else digest)
        self._members.blobs[path] = found

    def _layer(self, reader: TarReader, entry: Entry, path: str, head: bytes) -> None:
        expected = blob_digest(path)
        expected = expected if expected.startswith("sha256") else ""
        name = digests.short(expected) or path.removesuffix("/layer.tar")[-64:][:12]
        reading, writing = os.pipe2(os.O_CLOEXEC)
        ended = threading.Event()
        run = self._run(reading, expected, ended)
        work = asyncio.run_coroutine_threadsafe(run, self._loop)
        done = 0

        def forward(piece: bytes) -> None:
            nonlocal done
            write_all(writing, piece)
            done += len(piece)
            self._tell(name, done, entry.size)

        try:
            forward(head)
            reader.copy_to(forward)
        except BrokenPipeError:
            pass  # the worker gave up: its result says why
        except BaseException:
            work.cancel()
            raise
        finally:
            os.close(writing)
            ended.wait()  # so that nothing is stored after we have given up
        self._members.layers[path] = work.result()

    async def _run(self, fd: int, expected: str, ended: threading.Event) -> LayerInfo:
        try:
            return await self._ingest(fd, expected)
        finally:
            os.close(fd)
            ended.set()


def normalised(path: str) -> str:
    """A member's path without ``./``, ``..`` and leading slashes."""
    return posixpath.normpath("/" + path).lstrip("/")


def blob_digest(path: str) -> str:
    """The digest that a path of an OCI layout names; "" for others."""
    match = _BLOB.fullmatch(path)
    digest = f"{match[1]}:{match[2]}" if match else ""
    return digest if digest and digests.is_digest(digest) else ""


def _may_be_tar(head: bytes, size: int) -> bool:
    """Whether a file may be an uncompressed layer: a header of ustar or v7, or an empty archive."""
    if size < _HEAD:
        return False
    if head[257:262] == b"ustar" or not any(head):
        return True
    total = sum(head[:148]) + sum(head[156:_HEAD]) + 8 * 0x20
    try:
        return int(head[148:156].strip(b" \0") or b"0", 8) == total
    except ValueError:
        return False
