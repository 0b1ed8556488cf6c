"""One blob on its way into the content store."""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable
from types import TracebackType

from ketch.errors import Conflict, DataCorrupt, KetchError, os_reason
from ketch.linux.writeback import start_writeback, sync_directory
from ketch.oci import digest as digests

_CHUNK = 1 << 20
_WRITEBACK = 8 << 20  # bytes after which the kernel is told to begin writing


class Ingest:
    """A blob being written; made by ``ContentStore.ingest``.

    Use as a context manager: leaving it without ``commit`` keeps the bytes of a blob with a known
    digest, so that the next ingest of it goes on at ``offset``; a nameless one is deleted.
    """

    def __init__(self, path: str, place: Callable[[str], str], digest: str, size: int) -> None:
        self._path = path
        self._place = place
        self._digest = digest
        self._size = size
        self._algorithm = digests.algorithm_of(digest) if digest else "sha256"
        self._hasher = digests.Hasher(self._algorithm)
        self._fd = _open_locked(path)
        self.offset = self._flushed = 0

    def resume(self) -> None:
        """Take over what an earlier ingest wrote (reads it); what is too long is begun anew."""
        present = os.fstat(self._fd).st_size
        if self._size >= 0 and present > self._size:
            os.ftruncate(self._fd, 0)
            present = 0
        while piece := os.read(self._fd, _CHUNK):
            self._hasher.update(piece)
        self.offset = self._flushed = present

    @property
    def complete(self) -> bool:
        """Whether all bytes that were announced are there."""
        return self.offset == self._size

    def write(self, data: bytes | bytearray | memoryview) -> None:
        """Append bytes.

        Raises ``DataCorrupt`` when there are more than announced, ``KetchError`` for a full disk.
        """
        if 0 <= self._size < self.offset + len(data):
            self.discard()
            raise DataCorrupt(f"{self._what()} has more than the announced {self._size} bytes")
        view = memoryview(data)
        while view:
            try:
                written = os.write(self._fd, view)
            except OSError as error:
                raise KetchError(
                    f"cannot store {self._what()} in {self._path}: {os_reason(error)}"
                ) from error
            self._hasher.update(view[:written])
            self.offset += written
            view = view[written:]
        if self.offset - self._flushed >= _WRITEBACK:
            start_writeback(self._fd, self._flushed, self.offset - self._flushed)
            self._flushed = self.offset

    def restart(self) -> None:
        """Begin anew: the other side does not go on where we want."""
        os.ftruncate(self._fd, 0)
        os.lseek(self._fd, 0, os.SEEK_SET)
        self._hasher = digests.Hasher(self._algorithm)
        self.offset = self._flushed = 0

    def commit(self, expected: str = "") -> str:
        """Check size and digest, and make the blob part of the store, durably; the digest.

        ``expected`` is a digest that was not known when the ingest began. Raises ``DataCorrupt``
        when something is wrong; then nothing is kept.
        """
        expected = expected or self._digest
        found = self._hasher.digest()
        if self._size >= 0 and self.offset != self._size:
            self.discard()
            raise DataCorrupt(f"{self._what()} has {self.offset} bytes, not {self._size}")
        if expected and found != expected:
            self.discard()
            raise DataCorrupt(f"blob {expected} arrived with the digest {found}: refused")
        os.fsync(self._fd)
        target = self._place(found)
        os.rename(self._path, target)
        sync_directory(os.path.dirname(target))
        self.close()
        return found

    def discard(self) -> None:
        """Give up and keep nothing."""
        if self._fd >= 0:
            os.unlink(self._path)
            self.close()

    def close(self) -> None:
        """Let go; a nameless blob that was not committed is deleted."""
        if self._fd < 0:
            return
        fd, self._fd = self._fd, -1
        os.close(fd)

    def _what(self) -> str:
        return f"blob {self._digest}" if self._digest else "the blob"

    def __enter__(self) -> Ingest:
        return self

    def __exit__(
        self,
        kind: type[BaseException] | None,
        error: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        if self._fd >= 0 and (not self._digest or not self.offset):
            self.discard()
        self.close()


def _open_locked(path: str) -> int:
    """Open for one writer; the lock is the kernel's and ends with the process."""
    while True:
        fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o640)
        try:
            fcntl.flock(fd, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(fd)
            raise Conflict(f"{os.path.basename(path)} is being written already") from None
        if _is_at(fd, path):
            return fd
        os.close(fd)  # its last writer had just renamed it: that is a blob now


def unlink_idle(path: str) -> bool:
    """Delete a partial blob, if nobody writes it."""
    try:
        fd = _open_locked(path)
    except Conflict:
        return False
    try:
        os.unlink(path)
    finally:
        os.close(fd)
    return True


def _is_at(fd: int, path: str) -> bool:
    try:
        return os.path.samestat(os.fstat(fd), os.stat(path))
    except FileNotFoundError:
        return False
