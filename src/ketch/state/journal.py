"""A journal: documents in the order in which they happened, the oldest forgotten by count."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from typing import Generic, TypeVar

import msgspec

from ketch.state.database import Database, checked

T = TypeVar("T")
_TRIM_EVERY = 256
_PAGE = 500


class Journal(Generic[T]):
    """Append-only; ``limit`` entries are kept (a few more between trims).

    Appending survives SIGKILL of the daemon; a power cut may lose the last entries, never the order
    (it commits with ``durable=False``: 0.07 ms instead of 0.6).
    """

    def __init__(self, database: Database, name: str, kind: type[T], *, limit: int = 10_000):
        self._database = database
        self._name = checked(name)
        self._limit = limit
        self._appended = 0
        self._decoder = msgspec.json.Decoder(kind)
        self._insert = f"INSERT INTO {name} (time, document) VALUES (?, ?) RETURNING sequence"
        with database.transaction():
            database.execute(
                f"CREATE TABLE IF NOT EXISTS {name} (sequence INTEGER PRIMARY KEY AUTOINCREMENT, "
                "time INTEGER NOT NULL, document BLOB NOT NULL)"
            )
            database.execute(f"CREATE INDEX IF NOT EXISTS {name}_time ON {name} (time)")

    def append(self, time: int, value: T) -> int:
        """Add an entry of an instant (ns since the epoch); returns its sequence number."""
        return self.extend([(time, value)])

    def extend(self, entries: Sequence[tuple[int, T]]) -> int:
        """Add entries, all or none; returns the last one's sequence number."""
        sequence = 0
        with self._database.transaction(durable=False):
            for time, value in entries:
                rows = self._database.execute(self._insert, [time, msgspec.json.encode(value)])
                sequence = int(rows[0][0])
                self._appended += 1
                if self._appended % _TRIM_EVERY == 0:
                    self._trim(sequence)
        return sequence

    def newest(self) -> int:
        """The latest instant there is; 0 in an empty journal."""
        rows = self._database.execute(f"SELECT max(time) FROM {self._name}")
        return int(rows[0][0] or 0)

    def between(self, since: int, until: int = 0, *, after: int = 0) -> Iterator[tuple[int, T]]:
        """Entries with ``since <= time <= until`` (0 = no end), with their sequence numbers.

        Only those with a sequence number above ``after``; read page by page, so entries appended
        meanwhile may or may not be among them.
        """
        upper = until or (1 << 63) - 1
        query = (
            f"SELECT sequence, document FROM {self._name} WHERE sequence > ? AND time >= ? "
            f"AND time <= ? ORDER BY sequence LIMIT {_PAGE}"
        )
        while rows := self._database.execute(query, [after, since, upper]):
            for sequence, document in rows:
                yield int(sequence), self._decoder.decode(document)
            after = int(rows[-1][0])

    def __len__(self) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM {self._name}")[0][0])

    def _trim(self, newest: int) -> None:
        self._database.execute(
            f"DELETE FROM {self._name} WHERE sequence <= ?", [newest - self._limit]
        )
