"""The content store: blobs by digest, and downloads on their way to become blobs.

Layout under the data root: ``content/blobs/<algorithm>/<hex>``; ``content/ingest/`` holds
``<algorithm>-<hex>`` (a blob whose digest is known beforehand: a later ingest goes on where this
one ended) and ``new-<random>`` (unknown until it is complete). A blob is written there, synced,
checked and renamed, and the directory is synced, before anyone hears of it.

All methods block on the disk; on the event loop only those that touch one inode are called.
"""

from __future__ import annotations

import os
import time
from collections.abc import Iterator
from typing import BinaryIO

from ketch.content.ingest import Ingest, unlink_idle
from ketch.errors import Conflict, DataCorrupt, NotFound
from ketch.oci import digest as digests

_PARTIAL_AGE = 24 * 3600  # seconds that an interrupted download is kept for the next try


class ContentStore:
    """See the module's docstring. ``root`` is the data root."""

    def __init__(self, root: str) -> None:
        self._blobs = os.path.join(root, "content", "blobs")
        self._ingests = os.path.join(root, "content", "ingest")
        self._trash = os.path.join(root, "trash")
        algorithms = [os.path.join(self._blobs, name) for name in ("sha256", "sha512")]
        for folder in (*algorithms, self._ingests, self._trash):
            os.makedirs(folder, mode=0o710, exist_ok=True)

    # reading

    def path(self, digest: str) -> str:
        """Where a blob is, if it is there."""
        algorithm, _, digits = digests.check(digest).partition(":")
        return os.path.join(self._blobs, algorithm, digits)

    def has(self, digest: str) -> bool:
        """Whether the blob is stored."""
        return os.path.exists(self.path(digest))

    def size(self, digest: str) -> int:
        """Bytes of a blob; raises ``NotFound``."""
        try:
            return os.stat(self.path(digest)).st_size
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not stored") from None

    def open(self, digest: str) -> BinaryIO:
        """A blob for reading; raises ``NotFound``. It stays readable when it is deleted."""
        try:
            return open(self.path(digest), "rb", buffering=0)
        except FileNotFoundError:
            raise NotFound(f"blob {digest} is not stored") from None

    def read(self, digest: str) -> bytes:
        """A small blob as a whole, checked; raises ``NotFound``, ``DataCorrupt``."""
        with self.open(digest) as file:
            data = file.read()
        if not digests.matches(data, digest):
            raise DataCorrupt(f"the stored blob {digest} is damaged: its bytes have another digest")
        return data

    def verify(self, digest: str) -> bool:
        """Whether a stored blob still has its digest; raises ``NotFound``."""
        hasher = digests.Hasher(digests.algorithm_of(digest))
        with self.open(digest) as file:
            while piece := file.read(1 << 20):
                hasher.update(piece)
        return hasher.digest() == digest

    def walk(self) -> Iterator[tuple[str, int]]:
        """Every stored blob and its size."""
        for algorithm in sorted(os.listdir(self._blobs)):
            for entry in os.scandir(os.path.join(self._blobs, algorithm)):
                digest = f"{algorithm}:{entry.name}"
                if digests.is_digest(digest):
                    yield digest, entry.stat().st_size

    # writing

    def put(self, data: bytes) -> str:
        """Store bytes, durably; returns their digest."""
        digest = digests.of(data)
        if self.has(digest):
            return digest
        with self.ingest() as ingest:
            ingest.write(data)
            return ingest.commit()

    def ingest(self, digest: str = "", size: int = -1, *, resume: bool = True) -> Ingest:
        """Begin to write a blob, or go on with an interrupted one of the same digest.

        ``digest`` "" and ``size`` -1 mean: unknown. Without ``resume`` the caller must call
        ``Ingest.resume``, which may take a while. Raises ``Conflict`` when somebody else writes
        the same blob.
        """
        name = digests.check(digest) if digest else f"new:{os.urandom(8).hex()}"
        ingest = Ingest(self._partial(name), self.path, digest, size)
        if resume:
            ingest.resume()
        return ingest

    def forget_partial(self, digest: str) -> None:
        """Delete what an interrupted ingest of a blob left, unless somebody is writing it."""
        try:
            if os.path.exists(self._partial(digests.check(digest))):
                self.ingest(digest, resume=False).discard()
        except Conflict:
            return

    def _partial(self, name: str) -> str:
        return os.path.join(self._ingests, name.replace(":", "-"))

    def delete(self, digest: str) -> int:
        """Take a blob out of the store, at once: it is renamed into the data root's ``trash``.

        Returns the bytes that are free when the trash is emptied, 0 when it was not there.
        """
        path = self.path(digest)
        try:
            size = os.stat(path).st_size
            os.rename(path, os.path.join(self._trash, os.urandom(8).hex()))
        except FileNotFoundError:
            return 0
        return size

    def sweep_ingests(self, age: float = _PARTIAL_AGE) -> int:
        """Delete what interrupted ingests left: nameless ones, and others older than ``age`` s.

        What is being written stays. Returns the bytes freed.
        """
        freed = 0
        for entry in os.scandir(self._ingests):
            stat = entry.stat(follow_symlinks=False)
            is_old = entry.name.startswith("new-") or time.time() - stat.st_mtime >= age
            if is_old and unlink_idle(entry.path):
                freed += stat.st_size
        return freed
