"""Room that the database keeps for itself, so that a full disk does not stop the engine.

Who has filled the disk must be able to stop and remove containers and images, and each of these is
a transaction. So the write-ahead log has its blocks before it needs them, and the main file a stock
of free pages. When the last connection closes, SQLite deletes the log: its room is held by a file
meanwhile, since the next daemon may have to start on a full disk.
"""

from __future__ import annotations

import logging
import os
import sqlite3
from contextlib import suppress

LOG = 4 << 20  # bytes; journal_size_limit lets the log keep as much
_HELD = LOG + (2 << 20)  # others write too between the end of the holder and the log's beginning
_LEAST = 64 << 10
_STOCK = 256  # pages: a megabyte, some thousand records
_PAGE = 4096
_log = logging.getLogger("ketch.state")


def prepare(path: str, connection: sqlite3.Connection) -> None:
    """Give log and main file their room; on a disk that is too full already there is none."""
    try:
        _allocate(f"{path}-wal", LOG)
        _stock(connection)
    except (OSError, sqlite3.OperationalError):
        _log.warning("the disk is too full for the database's reserve: make room on it")


def release(path: str) -> None:
    """Before the database is opened: let its log have the room."""
    with suppress(FileNotFoundError):
        os.unlink(_holder(path))


def keep(path: str) -> None:
    """After the database was closed: hold the room that its log had."""
    with suppress(OSError):
        _allocate(_holder(path), _HELD)


def _holder(path: str) -> str:
    return f"{path}.reserve"


def _allocate(path: str, size: int) -> None:
    """Blocks for the first ``size`` bytes, or for as many of them as there are.

    Zeros at a log's end are no frames of it (SQLite file format, section 4.1).
    """
    fd = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC, 0o600)
    try:
        while True:
            try:
                os.posix_fallocate(fd, 0, size)
                return
            except OSError:
                size //= 2
                if size < _LEAST:
                    raise
    finally:
        os.close(fd)


def _stock(connection: sqlite3.Connection) -> None:
    """Free pages that are really on the disk: they are written, checked in, and let go."""
    free = int(connection.execute("PRAGMA freelist_count").fetchone()[0])
    if free >= _STOCK // 2:
        return
    connection.execute("CREATE TABLE IF NOT EXISTS reserve (pages BLOB)")
    connection.execute("INSERT INTO reserve VALUES (zeroblob(?))", ((_STOCK - free) * _PAGE,))
    connection.execute("PRAGMA wal_checkpoint(PASSIVE)")
    connection.execute("DROP TABLE reserve")
