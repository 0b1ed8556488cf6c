"""Document tables: durable, transactional, indexed, honest about damage."""

from __future__ import annotations

import os
import signal
import sqlite3
import subprocess
import sys
from pathlib import Path

import msgspec
import pytest

from ketch.errors import DataCorrupt, KetchError
from ketch.state.database import Database, Table
from ketch.state.journal import Journal
from ketch.state.leases import Leases
from ketch.state.migrations import migrate


class Boat(msgspec.Struct, frozen=True):
    name: str
    masts: int = 2


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(str(tmp_path / "ketch.db"))


def boats(database: Database) -> Table[Boat]:
    return Table(database, "boats", Boat, indexes={"masts": lambda boat: boat.masts})


def put_and_fail(database: Database, table: Table[Boat]) -> None:
    with database.transaction():
        table.put("b", Boat("Bell"))
        raise RuntimeError


def test_put_get_delete(database: Database) -> None:
    table = boats(database)
    table.put("a", Boat("Anna"))
    table.put("a", Boat("Anne"))
    assert table.get("a") == Boat("Anne")
    assert table.get("b") is None
    assert "a" in table
    assert len(table) == 1
    assert table.delete("a")
    assert not table.delete("a")
    assert table.values() == []


def test_find_by_an_index_added_later(database: Database) -> None:
    plain: Table[Boat] = Table(database, "boats", Boat)
    plain.put("a", Boat("Anna", 1))
    plain.put("b", Boat("Bell", 2))
    assert boats(database).find("masts", 1) == [Boat("Anna", 1)]
    with pytest.raises(KeyError):
        boats(database).find("name", "Bell")


def test_a_failed_transaction_leaves_nothing(database: Database) -> None:
    table = boats(database)
    with pytest.raises(RuntimeError):
        put_and_fail(database, table)
    assert table.all() == {}


def test_an_inner_transaction_is_undone_alone(database: Database) -> None:
    table = boats(database)
    with database.transaction():
        table.put("a", Boat("Anna"))
        with pytest.raises(RuntimeError):
            put_and_fail(database, table)
    assert list(table.all()) == ["a"]


def test_records_outlive_the_process_object(tmp_path: Path) -> None:
    path = str(tmp_path / "ketch.db")
    first = Database(path)
    boats(first).put("a", Boat("Anna"))
    assert boats(Database(path)).get("a") == Boat("Anna")
    assert os.stat(path).st_mode & 0o777 == 0o600


def test_an_unreadable_record_is_named(database: Database) -> None:
    table = boats(database)
    database.execute("INSERT INTO boats (key, document) VALUES ('x', '{\"name\": 1}')")
    with pytest.raises(DataCorrupt, match=r"table boats, key x"):
        table.get("x")


def test_no_database(tmp_path: Path) -> None:
    path = tmp_path / "ketch.db"
    path.write_bytes(b"this is not a database, whatever its name says" * 100)
    with pytest.raises(DataCorrupt):
        Database(str(path))
    with pytest.raises(KetchError, match="no such file"):
        Database(str(tmp_path / "missing" / "ketch.db"))


def test_a_newer_database_is_refused(tmp_path: Path) -> None:
    path = str(tmp_path / "ketch.db")
    Database(path).execute("PRAGMA user_version=99")
    with pytest.raises(DataCorrupt, match="newer ketch"):
        Database(path)


def test_a_failed_migration_changes_nothing(tmp_path: Path) -> None:
    connection = sqlite3.connect(tmp_path / "x.db", isolation_level=None)

    def broken(connection: sqlite3.Connection) -> None:
        connection.execute("CREATE TABLE half (x)")
        raise RuntimeError

    with pytest.raises(RuntimeError):
        migrate(connection, (broken,))
    assert connection.execute("SELECT name FROM sqlite_master").fetchall() == []
    assert connection.execute("PRAGMA user_version").fetchone() == (0,)


def test_full_database_keeps_the_old_state(database: Database) -> None:
    table = boats(database)
    table.put("a", Boat("Anna"))
    pages = database.execute("PRAGMA page_count")[0][0]
    database.execute(f"PRAGMA max_page_count={pages}")
    with pytest.raises(KetchError, match="no space left on device"):
        table.put("b", Boat("B" * 2_000_000))
    assert list(table.all()) == ["a"]
    database.execute("PRAGMA max_page_count=1000000")
    table.put("b", Boat("Bell"))
    assert list(table.all()) == ["a", "b"]


WRITER = """
import sys
from ketch.state.database import Database, Table
database = Database(sys.argv[1])
pairs = Table(database, "pairs", int)
number = max(pairs.values(), default=0)
while True:
    number += 1
    with database.transaction():
        pairs.put(f"left {number}", number)
        pairs.put(f"right {number}", number)
    print(number, flush=True)
"""


def test_kill_9_loses_nothing_acknowledged(tmp_path: Path) -> None:
    path = str(tmp_path / "ketch.db")
    acknowledged = 0
    for round_ in range(12):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, path],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        ) as writer:
            assert writer.stdout
            for _ in range(1 + 3 * round_):
                acknowledged = int(writer.stdout.readline())
            writer.send_signal(signal.SIGKILL)
            for line in writer.stdout:
                acknowledged = int(line) if line.endswith(b"\n") else acknowledged
        pairs: Table[int] = Table(Database(path), "pairs", int)
        stored = pairs.all()
        lefts = {value for key, value in stored.items() if key.startswith("left")}
        rights = {value for key, value in stored.items() if key.startswith("right")}
        assert lefts == rights >= set(range(1, acknowledged + 1))


def test_journal_keeps_order_range_and_limit(database: Database) -> None:
    journal = Journal(database, "events", Boat, limit=300)
    for number in range(600):
        journal.append(1000 + number, Boat(str(number)))
    assert 300 <= len(journal) < 600
    found = list(journal.between(1590, 1594))
    assert [boat.name for _, boat in found] == ["590", "591", "592", "593", "594"]
    after = found[2][0]
    assert [boat.name for _, boat in journal.between(1590, 1594, after=after)] == ["593", "594"]
    assert next(iter(Journal(database, "events", Boat).between(1599)))[1] == Boat("599")


def test_a_lease_protects_until_its_end() -> None:
    leases, removed = Leases(), []
    with leases.lease("pull", ["a"]) as lease, leases.lease("build", ["a"]) as other:
        lease.add("a", "b")
        lease.release()
        assert not leases.collect("a", lambda key: False, removed.append)
        assert leases.collect("b", lambda key: False, removed.append)
        other.add("c")
        assert not leases.collect("c", lambda key: False, removed.append)
    assert not leases.collect("a", lambda key: True, removed.append)
    assert leases.collect("a", lambda key: False, removed.append)
    assert removed == ["b", "a"]
    assert not leases.held


def test_others_are_kept_out(tmp_path: Path) -> None:
    path = str(tmp_path / "ketch.db")
    database = Database(path, exclusive=True)
    boats(database).put("a", Boat("Anna"))
    with sqlite3.connect(path, timeout=0.1) as other, pytest.raises(sqlite3.OperationalError):
        other.execute("SELECT * FROM boats")
    assert not os.path.exists(f"{path}-shm")
    database.close()
    assert os.stat(f"{path}.reserve").st_blocks * 512 >= 4 << 20
    assert boats(Database(path)).get("a") == Boat("Anna")
