"""Changes of the database's form between versions of ketch, counted by ``PRAGMA user_version``.

Tables and index columns are made where they are declared, and documents get defaults for new
fields; a migration is needed only when stored documents must be rewritten.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Sequence

from ketch.errors import DataCorrupt

Migration = Callable[[sqlite3.Connection], None]


def _first_version(connection: sqlite3.Connection) -> None:
    """An empty database is version 1."""


MIGRATIONS: Sequence[Migration] = (_first_version,)
"""Migration ``n`` leads from version ``n`` to ``n + 1``; only ever append."""


def migrate(connection: sqlite3.Connection, migrations: Sequence[Migration]) -> None:
    """Bring the database to version ``len(migrations)``, each step in a transaction of its own.

    Raises ``DataCorrupt`` for a database from a later version: its records could be misread.
    """
    version = int(connection.execute("PRAGMA user_version").fetchone()[0])
    if version > len(migrations):
        raise DataCorrupt(
            f"the database has version {version}, this ketch knows {len(migrations)}:"
            " it was written by a newer ketch, use that one"
        )
    for number in range(version, len(migrations)):
        connection.execute("BEGIN IMMEDIATE")
        try:
            migrations[number](connection)
            connection.execute(f"PRAGMA user_version={number + 1}")
        except BaseException:
            connection.execute("ROLLBACK")
            raise
        connection.execute("COMMIT")
