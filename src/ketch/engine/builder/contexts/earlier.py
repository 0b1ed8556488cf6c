"""Contexts of earlier builds, so that a client sends only what has changed since.

A client tells of every file of its directory (path, size, times), and of those that are here from
the last time only what changed is asked for. What is kept is the image of the context, as another
link to the build's own, and where in it the contents of files are. Files whose time has no fraction
of a second are always asked for: such times are set by tools (npm gives one time to all files), so
another content may have the same one.

Nothing here was synced: what was kept before the machine's last start is dropped.
"""

from __future__ import annotations

import asyncio
import hashlib
import logging
import os
import secrets
import time
from collections.abc import AsyncIterator, Iterable
from typing import Any

import msgspec

from ketch.engine.builder.cache.records import CONTEXT
from ketch.engine.builder.contexts.kept import KeptFiles, KeptRecord
from ketch.engine.storing import storing
from ketch.errors import DataCorrupt
from ketch.layers.erofs import DATA_START
from ketch.state.database import Database

FOLDER = "build-contexts"
_LEAST = 4 << 20  # bytes of a context that is worth it
_MOST = 4 << 30  # bytes of all
_PIECE = 1 << 20
_AT_ONCE = 1 << 17  # bytes that are read without a thread
_SECOND = 1_000_000_000
_log = logging.getLogger("ketch.engine.builder")
Place = tuple[int, int, int]  # size, modification time in ns, offset in the archive


class KeptContext(KeptRecord, frozen=True, kw_only=True):
    """One context; ``name`` is that of its image, beside which is one of ``files``.

    ``boot`` is the machine's start that it belongs to, ``told`` names all that the client told of
    its files, ``received`` is what the worker said. ``whole`` is the key of the client's directory,
    of which this may be a part.
    """

    whole: str = ""
    directory: str
    boot: str
    told: str
    received: dict[str, Any]


class Earlier:
    """One transfer's view of what was sent before, and its notes of what comes now."""

    def __init__(self, record: KeptContext | None, fd: int, files: dict[str, Place]) -> None:
        self.record = record
        self._fd = fd
        self._files = files
        self.notes: dict[str, Place] = {}
        self.told = ""
        self.unchanged = False

    def tell(self, told: str, *, certain: bool) -> bool:
        """Whether nothing changed: the digest of all that the client told is that of before, and
        the times of its files are ``certain``."""
        self.told = told
        self.unchanged = certain and self.record is not None and self.record.told == told
        return self.unchanged

    def find(self, path: str, size: int, mtime: int) -> int | None:
        """Where the content of a file is that was not changed."""
        place = self._files.get(path)
        if place is None or not is_certain(mtime) or place[:2] != (size, mtime):
            return None
        return place[2]

    def note(self, path: str, size: int, mtime: int, offset: int) -> None:
        """The content of a file is at this place of the new archive."""
        self.notes[path] = (size, mtime, offset)

    async def read(self, offset: int, size: int) -> AsyncIterator[bytes]:
        """The content at a place."""
        offset += DATA_START
        while size > 0:
            want = min(size, _PIECE)
            if want <= _AT_ONCE:
                data = os.pread(self._fd, want, offset)
            else:
                data = await asyncio.to_thread(os.pread, self._fd, want, offset)
            if not data:
                raise DataCorrupt("the kept context of an earlier build is cut short: prune it")
            yield data
            offset, size = offset + len(data), size - len(data)

    def copy(self, path: str) -> None:
        """Make a file of the whole image."""
        with open(path, "xb") as file:
            os.chmod(file.fileno(), 0o600)
            os.lseek(self._fd, 0, os.SEEK_SET)
            while os.sendfile(file.fileno(), self._fd, None, _MOST):
                pass

    def close(self) -> None:
        """No reading any more."""
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1


def is_certain(mtime: int) -> bool:
    """Whether a time says that a file was not changed since."""
    return mtime % _SECOND != 0


class KeptContexts(KeptFiles[KeptContext]):
    """All that are kept."""

    def __init__(self, database: Database, data_root: str, boot: str = "") -> None:
        root = f"{data_root}/{FOLDER}"
        super().__init__(database, root, "build_contexts", KeptContext, CONTEXT, _MOST)
        self._boot = boot or _boot()

    def is_over(self, record: KeptContext) -> bool:
        """Nothing was synced: what a machine left that stopped may be anything."""
        return record.boot != self._boot

    def names(self, name: str) -> tuple[str, ...]:
        """The image, and where in it the contents of files are."""
        return (name, f"{name}.files")

    def description(self, record: KeptContext) -> str:
        """By the client's directory."""
        return f"local source for {record.directory}"

    def open(self, client: str, directory: str, paths: Iterable[str] = ()) -> Earlier:
        """What is known of a client's directory, or of some paths in it; the caller closes it.

        Of paths that were not asked for before, what was brought for others last.
        """
        record = self._known(client, directory, paths) if client else None
        if record is None:
            return Earlier(None, -1, {})
        try:
            with open(f"{self.root}/{record.name}.files", "rb") as file:
                files = msgspec.msgpack.decode(file.read(), type=dict[str, Place])
            fd = os.open(f"{self.root}/{record.name}", os.O_RDONLY | os.O_CLOEXEC)
        except (OSError, msgspec.DecodeError):
            self.drop([record.key])
            return Earlier(None, -1, {})
        return Earlier(record, fd, files)

    def _known(self, client: str, directory: str, paths: Iterable[str]) -> KeptContext | None:
        exact = self.records.get(_key(client, directory, paths))
        if exact is not None:
            return exact
        whole = _key(client, directory)
        related = [one for one in self.records.values() if one.whole == whole]
        return max(related, key=lambda one: one.used_at, default=None)

    async def adopt(self, earlier: Earlier, image: str) -> dict[str, Any]:
        """Take the kept image for that of a build, whether or not it was dropped meanwhile."""
        record = earlier.record
        assert record is not None
        try:
            os.link(f"{self.root}/{record.name}", image)
        except FileNotFoundError:
            with storing("the build context"):
                await asyncio.to_thread(earlier.copy, image)
        self.touch(record)
        return dict(record.received)

    def keep(
        self,
        client: str,
        directory: str,
        image: str,
        received: dict[str, Any],
        earlier: Earlier,
        paths: Iterable[str] = (),
    ) -> None:
        """Keep the image of a build's context instead of the one before. On a full disk nothing is
        kept, which is no error."""
        size = os.stat(image).st_blocks * 512
        if not client or not _LEAST <= size <= self.most:
            return
        key, now = _key(client, directory, paths), time.time_ns()
        record = KeptContext(
            key=key,
            whole=_key(client, directory),
            name=secrets.token_hex(16),
            directory=directory,
            boot=self._boot,
            told=earlier.told,
            received=received,
            size=size,
            created_at=now,
            used_at=now,
        )
        try:
            with open(f"{self.root}/{record.name}.files", "wb") as file:
                file.write(msgspec.msgpack.encode(earlier.notes))
            os.link(image, f"{self.root}/{record.name}")
        except OSError as error:
            _log.warning("the context %s is not kept for the next build: %s", directory, error)
            self.unlink(record.name)
            return
        self.drop([key])
        self.put(record)
        self.trim()


def _key(client: str, directory: str, paths: Iterable[str] = ()) -> str:
    told = "\0".join((client, directory, *sorted(paths)))
    return hashlib.sha256(told.encode()).hexdigest()[:25]


def _boot() -> str:
    with open("/proc/sys/kernel/random/boot_id") as file:
        return file.read().strip()
