"""Directories of ``RUN --mount=type=cache``: kept across builds, shared or locked as asked.

Each is a directory below ``build-caches`` of the data root, with a record. The record is written
when the directory is filled, so one that was filled in part never counts: a directory without a
record is swept at start; a record without its directory is forgotten.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import secrets
import stat
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterable, Iterator
from contextlib import asynccontextmanager
from typing import NamedTuple

import msgspec

from ketch.engine.builder.cache.records import MOUNT, CacheUsage
from ketch.engine.storing import storing
from ketch.linux.below import stats_below
from ketch.state.database import Database, Table

FOLDER = "build-caches"
PRIVATE, LOCKED = "private", "locked"
Fill = Callable[[str], Awaitable[None]]


class CacheMount(msgspec.Struct, frozen=True, kw_only=True):
    """One directory; times in ns since the epoch. ``name`` is its directory's; ``base`` is the
    identity of what it began with, "" for nothing."""

    id: str
    base: str = ""
    name: str
    created_at: int
    used_at: int
    uses: int = 0


class MountKey(NamedTuple):
    """Which cache a step means."""

    id: str
    base: str = ""

    @property
    def name(self) -> str:
        """Of its first directory."""
        text = f"{self.id}\0{self.base}" if self.base else self.id
        return hashlib.sha256(text.encode()).hexdigest()[:32]


class Owner(NamedTuple):
    """What a new directory belongs to."""

    mode: int
    uid: int
    gid: int


class CacheMounts:
    """All cache directories."""

    def __init__(self, database: Database, data_root: str) -> None:
        self._database = database
        self._root = f"{data_root}/{FOLDER}"
        self._trash = f"{data_root}/trash"
        self._table = Table(database, "build_cache_mounts", CacheMount)
        self._mounts = self._table.all()
        self._users: dict[str, int] = {}  # name → steps that have it now
        self._exclusive: set[str] = set()
        self._filling: dict[str, asyncio.Lock] = {}  # of names that steps have now
        self._changed = asyncio.Condition()

    def start(self) -> None:
        """Drop what a killed daemon left half-made."""
        os.makedirs(self._root, 0o710, exist_ok=True)
        there = set(os.listdir(self._root))
        for name in there - set(self._mounts):
            os.rename(f"{self._root}/{name}", f"{self._trash}/{secrets.token_hex(8)}")
        self._forget([name for name in self._mounts if name not in there])

    @asynccontextmanager
    async def lease(
        self,
        key: MountKey,
        sharing: str,
        owner: Owner,
        fill: Fill | None = None,
        renewed: set[str] | None = None,
    ) -> AsyncIterator[str]:
        """The path of a directory for ``key`` while a step runs.

        A new one is made for ``owner`` and, with ``fill``, filled by it; who shares it waits for
        that. ``locked`` waits until nobody else has it, ``private`` takes another one instead.
        ``renewed`` is of a build that takes nothing from before: the directories that it has begun
        anew already; any other one is emptied first, as soon as nobody has it.
        """
        alone = sharing in (PRIVATE, LOCKED)
        async with self._changed:
            while (name := self._choose(key.name, sharing, alone, renewed)) is None:
                await self._changed.wait()
            self._users[name] = self._users.get(name, 0) + 1
            renew = renewed is not None and name not in renewed
            if renewed is not None:
                renewed.add(name)
            if alone or renew:
                self._exclusive.add(name)
        try:
            async with self._filling.setdefault(name, asyncio.Lock()):
                if renew and name in self._mounts:
                    self._throw_away([name])
                await self._ensure(key, name, owner, fill)
            self._touch(name)
            if renew and not alone:
                async with self._changed:
                    self._exclusive.discard(name)
                    self._changed.notify_all()
            yield f"{self._root}/{name}"
        finally:
            async with self._changed:
                self._users[name] -= 1
                if not self._users[name]:
                    del self._users[name]
                    self._filling.pop(name, None)
                self._exclusive.discard(name)
                self._changed.notify_all()

    def _choose(self, base: str, sharing: str, alone: bool, renewed: set[str] | None) -> str | None:
        """The name of a directory to take now; None: wait for one."""
        number = 0
        while True:
            name = base if not number else f"{base}-{number}"
            renew = renewed is not None and name not in renewed
            busy = name in self._exclusive or ((alone or renew) and name in self._users)
            if not busy:
                return name
            if sharing != PRIVATE:
                return None
            number += 1

    async def _ensure(self, key: MountKey, name: str, owner: Owner, fill: Fill | None) -> None:
        """Make and fill a directory that is not there, or nobody else's and empty."""
        path = f"{self._root}/{name}"
        if name in self._mounts:
            if fill is None or self._users[name] > 1 or os.listdir(path):
                return
            self._throw_away([name])
        with storing("a cache mount"):
            os.mkdir(path)
        try:
            os.chown(path, owner.uid, owner.gid)
            os.chmod(path, owner.mode)
            if fill is not None:
                await fill(path)
        except BaseException:
            os.rename(path, f"{self._trash}/{secrets.token_hex(8)}")
            raise
        now = time.time_ns()
        self._put(CacheMount(id=key.id, base=key.base, name=name, created_at=now, used_at=now))

    def _touch(self, name: str) -> None:
        mount = self._mounts[name]
        used = msgspec.structs.replace(mount, used_at=time.time_ns(), uses=mount.uses + 1)
        self._put(used)

    def _put(self, mount: CacheMount) -> None:
        with self._database.transaction(durable=False):
            self._table.put(mount.name, mount)
        self._mounts[mount.name] = mount

    def all(self) -> Iterator[CacheMount]:
        """Every directory's record."""
        return iter(tuple(self._mounts.values()))

    def has(self, key: MountKey) -> bool:
        """Whether there is a directory already."""
        return key.name in self._mounts

    def path(self, mount: CacheMount) -> str:
        """Where a directory is."""
        return f"{self._root}/{mount.name}"

    def in_use(self, mount: CacheMount) -> bool:
        """Whether a step has it now."""
        return mount.name in self._users

    def usage(self) -> list[CacheUsage]:
        """Every directory; blocks while their files are counted."""
        return [
            CacheUsage(
                mount.name,
                "",
                size_of(self.path(mount)),
                False,
                mount.used_at,
                mount.created_at,
                mount.uses,
                MOUNT,
                f"cached mount {mount.id}",
                self.in_use(mount),
            )
            for mount in self.all()
        ]

    def drop(self, names: Iterable[str]) -> list[str]:
        """Move what nobody uses to the trash; the names of those."""
        doomed = [name for name in names if name in self._mounts and name not in self._users]
        self._throw_away(doomed)
        return doomed

    def _throw_away(self, names: list[str]) -> None:
        for name in names:
            os.rename(f"{self._root}/{name}", f"{self._trash}/{secrets.token_hex(8)}")
        self._forget(names)

    def _forget(self, names: list[str]) -> None:
        with self._database.transaction(durable=False):
            for name in names:
                self._table.delete(name)
        for name in names:
            self._mounts.pop(name, None)


def size_of(path: str) -> int:
    """Bytes of the files in a directory; one that is linked several times counts once."""
    seen: dict[tuple[int, int], int] = {}
    for info in stats_below(path):
        if not stat.S_ISDIR(info.st_mode):
            seen[info.st_dev, info.st_ino] = info.st_blocks * 512
    return sum(seen.values())
