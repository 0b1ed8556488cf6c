"""Files that are kept for the next build, and for how long: contexts and downloads."""

from __future__ import annotations

import os
import time
from collections.abc import Iterable
from contextlib import suppress
from typing import Generic, Protocol, TypeVar

import msgspec

from ketch.engine.builder.cache.gc import Amounts, Rule
from ketch.engine.builder.cache.records import CacheUsage
from ketch.state.database import Database, Table

UNUSED = 48 * 3600 * 1_000_000_000  # ns, as BuildKit's policy for local sources has it


class KeptRecord(msgspec.Struct, frozen=True, kw_only=True):
    """What is known of one: ``name`` of its file, ``size`` in bytes, times in ns."""

    key: str
    name: str
    size: int
    created_at: int
    used_at: int
    uses: int = 1


R = TypeVar("R", bound=KeptRecord)


class KeptFiles(Generic[R]):
    """All of one ``kind``, in a directory of their own.

    They take ``most`` bytes together, or a twentieth of the disk; what was used longest ago goes
    first. Their records are not synced: nor are the files.
    """

    def __init__(
        self, database: Database, root: str, table: str, record: type[R], kind: str, most: int
    ) -> None:
        self.root = root
        self.kind = kind
        self.most = most
        self._database = database
        self._table = Table(database, table, record)
        self.records: dict[str, R] = self._table.all()

    def start(self) -> None:
        """Drop what is of no use any more, and what a killed daemon left half-made."""
        os.makedirs(self.root, 0o700, exist_ok=True)
        disk = os.statvfs(self.root)
        self.most = min(self.most, disk.f_blocks * disk.f_frsize // 20)
        there = set(os.listdir(self.root))
        self.drop(
            key
            for key, record in tuple(self.records.items())
            if record.name not in there or self.is_over(record)
        )
        named = {name for record in self.records.values() for name in self.names(record.name)}
        for name in set(os.listdir(self.root)) - named:
            os.unlink(f"{self.root}/{name}")

    def is_over(self, record: R) -> bool:
        """Whether a record of an earlier daemon is of no use any more."""
        return False

    def names(self, name: str) -> tuple[str, ...]:
        """The files of a record."""
        return (name,)

    def description(self, record: R) -> str:
        """What people are told that it is."""
        raise NotImplementedError

    def put(self, record: R) -> None:
        """Remember one."""
        with self._database.transaction(durable=False):
            self._table.put(record.key, record)
        self.records[record.key] = record

    def touch(self, record: R) -> None:
        """It is used now, unless it was dropped."""
        if self.records.get(record.key) is record:
            used = time.time_ns()
            self.put(msgspec.structs.replace(record, used_at=used, uses=record.uses + 1))

    def rule(self) -> Rule:
        """What ``trim`` keeps to."""
        return Rule(
            filters={"type": (self.kind,)},
            unused_for=UNUSED,
            amounts=Amounts(max_used=self.most),
        )

    def trim(self) -> None:
        """Keep them within their bounds."""
        self.drop(overdue(self.records.values(), self.most))

    def usage(self) -> list[CacheUsage]:
        """Every one."""
        return [
            CacheUsage(
                one.key,
                "",
                one.size,
                False,
                one.used_at,
                one.created_at,
                one.uses,
                self.kind,
                self.description(one),
            )
            for one in self.records.values()
        ]

    def drop(self, keys: Iterable[str]) -> list[str]:
        """Forget some; those that there were. A build that reads one goes on."""
        doomed = [self.records.pop(key) for key in keys if key in self.records]
        if doomed:
            with self._database.transaction(durable=False):
                for record in doomed:
                    self._table.delete(record.key)
        for record in doomed:
            self.unlink(record.name)
        return [record.key for record in doomed]

    def unlink(self, name: str) -> None:
        """Delete the files of a record."""
        for file in self.names(name):
            with suppress(FileNotFoundError):
                os.unlink(f"{self.root}/{file}")


class Kept(Protocol):
    """A record: its key, bytes on the disk, and when it was used last (ns)."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def used_at(self) -> int: ...


def overdue(records: Iterable[Kept], most: int) -> list[str]:
    """The keys of those that nobody used for two days, and of those that were used longest ago
    while all together have more than ``most`` bytes."""
    left, found, now = most, [], time.time_ns()
    for record in sorted(records, key=lambda one: -one.used_at):
        left -= record.size
        if left < 0 or record.used_at < now - UNUSED:
            found.append(record.key)
    return found
