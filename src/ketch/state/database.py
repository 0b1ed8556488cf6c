"""The records' database: SQLite in WAL mode, and tables of documents in it.

A record is acknowledged only after the transaction that holds it ended: then it survives SIGKILL of
the daemon and, unless the transaction was opened with ``durable=False``, a power cut too
(``PRAGMA synchronous``: FULL syncs the WAL at each commit, NORMAL only at checkpoints; a FULL
commit also makes every earlier NORMAL one durable). One process opens the database; its threads
share one connection under a lock.

    database = Database("/var/lib/ketch/ketch.db")
    volumes = Table(database, "volumes", VolumeRecord, indexes={"driver": lambda v: v.driver})
    with database.transaction():            # both or none
        volumes.put("data", record)
        volumes.delete("old")
"""

from __future__ import annotations

import os
import re
import sqlite3
import threading
from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import contextmanager
from typing import Any, Generic, Protocol, TypeVar

import msgspec

from ketch.errors import DataCorrupt, KetchError, errno_text
from ketch.state import reserve
from ketch.state.migrations import MIGRATIONS, migrate

T = TypeVar("T")
IndexValue = str | int | None
_NAME = re.compile(r"[a-z][a-z0-9_]*")
_BUSY_TIMEOUT = 10_000  # ms


class Rider(Protocol):
    """Somebody whose rows are written with the next transaction, whoever made it."""

    def board(self) -> None:
        """Write them: called in the outermost transaction, as its last step."""

    def arrived(self, kept: bool) -> None:
        """The transaction ended; ``kept`` says whether it was committed."""


class Database:
    """See the module's docstring.

    Raises ``DataCorrupt`` when the file is no database or a newer ketch wrote it, ``KetchError``
    when it can't be opened or written (a full disk). ``exclusive`` keeps other connections out.
    """

    def __init__(self, path: str, *, exclusive: bool = False) -> None:
        self.path = path
        self._lock = threading.RLock()
        self._depth = 0
        self._durable = True
        self.rider: Rider | None = None
        with _translated(path):
            reserve.release(path)
            self._connection = _open(path, exclusive)
            migrate(self._connection, MIGRATIONS)
            reserve.prepare(path, self._connection)

    @contextmanager
    def transaction(self, *, durable: bool = True) -> Iterator[None]:
        """All writes inside are kept together, or none when an exception leaves the block.

        Never await inside. A transaction inside another is a savepoint: an exception undoes it
        alone, and durability is the outer one's.
        """
        with self._lock, _translated(self.path):
            self._begin(durable)
            try:
                yield
            except BaseException:
                self._undo()
                raise
            self._finish()

    def execute(self, sql: str, values: Sequence[IndexValue | bytes] = ()) -> list[Any]:
        """Run one statement and fetch its rows; outside a transaction it commits by itself."""
        with self._lock, _translated(self.path):
            if self._depth == 0:
                self._set_durable(True)
            return self._connection.execute(sql, values).fetchall()

    def close(self) -> None:
        """Check the WAL in and close; using the database afterwards is an error."""
        with self._lock:
            self._connection.close()
        reserve.keep(self.path)

    def _set_durable(self, durable: bool) -> None:
        if durable != self._durable:  # cannot be changed inside a transaction
            self._connection.execute(f"PRAGMA synchronous={'FULL' if durable else 'NORMAL'}")
            self._durable = durable

    def _begin(self, durable: bool) -> None:
        if self._depth == 0:
            self._set_durable(durable)
            self._connection.execute("BEGIN IMMEDIATE")
        else:
            self._connection.execute(f"SAVEPOINT level{self._depth}")
        self._depth += 1

    def _finish(self) -> None:
        if self._depth == 1:
            self._commit()
            return
        self._depth -= 1
        self._connection.execute(f"RELEASE level{self._depth}")

    def _commit(self) -> None:
        done = False
        try:
            if self.rider is not None:
                self.rider.board()
            self._connection.execute("COMMIT")
            done = True
        finally:
            self._depth -= 1
            if not done:
                self._roll_back()
            if self.rider is not None:
                self.rider.arrived(done)

    def _undo(self) -> None:
        self._depth -= 1
        if not self._connection.in_transaction:
            return  # SQLite itself rolled everything back: a full disk
        if self._depth:
            self._connection.execute(f"ROLLBACK TO level{self._depth}")
            self._connection.execute(f"RELEASE level{self._depth}")
        else:
            self._roll_back()

    def _roll_back(self) -> None:
        if self._connection.in_transaction:
            self._connection.execute("ROLLBACK")


class Table(Generic[T]):
    """Documents of one type by a text key, as JSON; fields that a document lacks get defaults.

    ``indexes`` are columns to find by: name → the value of a document. Adding one to a table that
    exists fills it from the documents.
    """

    def __init__(
        self,
        database: Database,
        name: str,
        kind: type[T],
        *,
        indexes: Mapping[str, Callable[[T], IndexValue]] | None = None,
    ) -> None:
        self._database = database
        self._name = checked(name)
        self._decoder = msgspec.json.Decoder(kind)
        self._indexes = dict(indexes or {})
        columns = ["key", "document", *(checked(column) for column in self._indexes)]
        self._upsert = (
            f"INSERT OR REPLACE INTO {name} ({', '.join(columns)}) "
            f"VALUES ({', '.join('?' * len(columns))})"
        )
        with database.transaction():
            self._create()

    def put(self, key: str, value: T) -> None:
        """Store a document, in place of the one that was there."""
        indexed = [index(value) for index in self._indexes.values()]
        self._database.execute(self._upsert, [key, msgspec.json.encode(value), *indexed])

    def get(self, key: str) -> T | None:
        """The document, or None."""
        rows = self._database.execute(f"SELECT document FROM {self._name} WHERE key = ?", [key])
        return self._decode(key, rows[0][0]) if rows else None

    def delete(self, key: str) -> bool:
        """Forget a document; False when there was none."""
        query = f"DELETE FROM {self._name} WHERE key = ? RETURNING 1"
        return bool(self._database.execute(query, [key]))

    def all(self) -> dict[str, T]:
        """Every document by its key, in the order of keys."""
        rows = self._database.execute(f"SELECT key, document FROM {self._name} ORDER BY key")
        return {key: self._decode(key, document) for key, document in rows}

    def values(self) -> list[T]:
        """Every document, in the order of keys."""
        return list(self.all().values())

    def find(self, index: str, value: IndexValue) -> list[T]:
        """Documents whose indexed column ``index`` has ``value``, in the order of keys."""
        if index not in self._indexes:
            raise KeyError(f"table {self._name} has no index {index}")
        rows = self._database.execute(
            f"SELECT key, document FROM {self._name} WHERE {index} IS ? ORDER BY key", [value]
        )
        return [self._decode(key, document) for key, document in rows]

    def __len__(self) -> int:
        return int(self._database.execute(f"SELECT count(*) FROM {self._name}")[0][0])

    def __contains__(self, key: object) -> bool:
        query = f"SELECT 1 FROM {self._name} WHERE key = ?"
        return isinstance(key, str) and bool(self._database.execute(query, [key]))

    def _decode(self, key: str, document: bytes) -> T:
        try:
            return self._decoder.decode(document)
        except msgspec.DecodeError as error:
            where = f"{self._database.path}, table {self._name}, key {key}"
            raise DataCorrupt(f"unreadable record ({where}): {error}") from None

    def _create(self) -> None:
        execute = self._database.execute
        execute(
            f"CREATE TABLE IF NOT EXISTS {self._name} "
            "(key TEXT PRIMARY KEY, document BLOB NOT NULL) WITHOUT ROWID"
        )
        present = {row[1] for row in execute(f"PRAGMA table_info({self._name})")}
        missing = [column for column in self._indexes if column not in present]
        for column in missing:
            execute(f"ALTER TABLE {self._name} ADD COLUMN {column}")
        for column in self._indexes:
            execute(f"CREATE INDEX IF NOT EXISTS {self._name}_{column} ON {self._name} ({column})")
        if missing:
            for key, document in self.all().items():
                self.put(key, document)


def checked(name: str) -> str:
    """A name that may stand in SQL text unquoted; ValueError for others."""
    if not _NAME.fullmatch(name):
        raise ValueError(f"{name!r} is no name for a table or column")
    return name


def _open(path: str, exclusive: bool) -> sqlite3.Connection:
    os.close(os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600))
    connection = sqlite3.connect(path, isolation_level=None, check_same_thread=False)
    # With one connection for good the log's index is in memory, and no SIGBUS of a full disk.
    locking = "EXCLUSIVE" if exclusive else "NORMAL"
    for pragma in (
        f"locking_mode={locking}",
        f"busy_timeout={_BUSY_TIMEOUT}",
        "journal_mode=WAL",
        "synchronous=FULL",
        f"journal_size_limit={reserve.LOG}",
        "foreign_keys=ON",
    ):
        connection.execute(f"PRAGMA {pragma}")
    return connection


@contextmanager
def _translated(path: str) -> Iterator[None]:
    try:
        yield
    except OSError as error:
        if error.filename != path:
            raise  # the caller's own, from inside a transaction
        raise KetchError(f"cannot open the database {path}: {errno_text(error)}") from error
    except sqlite3.OperationalError as error:
        reason = "no space left on device" if "is full" in str(error) else error
        raise KetchError(f"cannot write to the database {path}: {reason}") from error
    except sqlite3.DatabaseError as error:
        raise DataCorrupt(f"the database {path} is damaged: {error}") from error
