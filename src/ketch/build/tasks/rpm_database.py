"""The packages in rpm's databases: SQLite (rpmdb.sqlite), ndb (Packages.db), Berkeley DB
(Packages).

The bytes are an image's, so hostile: lengths are checked, SQLite reads them in memory, with a bound
on what it may do and without anything that a schema could smuggle in.

Sources: rpm's docs/manual/format_header.md (headers; a database stores them without their magic),
lib/backend/ndb/rpmpkg.c (ndb), sqlite.org/fileformat2.html.
"""

from __future__ import annotations

import re
import sqlite3
import struct
from collections.abc import Iterator

from ketch.build.tasks import rpm_berkeley

_TAGS = {
    1000: "name", 1001: "version", 1002: "release", 1003: "epoch", 1011: "vendor",
    1014: "license", 1022: "arch",
}  # fmt: skip
_INT32, _STRING, _I18N = 4, 6, 9
_MOST_ENTRIES, _LARGEST_HEADER = 0xFFFF, 256 << 20  # rpm's own bounds
_ENTRY = struct.Struct(">IIiI")
_NDB_HEAD, _NDB_SLOT = struct.Struct("<4sIIII"), struct.Struct("<4sIII")
_NDB_BLOCK, _NDB_PAGE = 16, 4096
_SQLITE_MAGIC = b"SQLite format 3\0"
_CREATE, _COMPUTED = re.compile(r"CREATE\s+TABLE\b", re.I), re.compile(r"\bAS\b", re.I)
_LONGEST = 64 << 20  # bytes of a value
_STEPS, _MOST_STEPS = 10_000, 5_000  # of SQLite's virtual machine between two looks; looks


def headers(data: bytes) -> Iterator[bytes]:
    """The headers in a database of any kind; ends where it is damaged.

    Raises ``ValueError`` when the bytes are none. A Berkeley DB has a counter beside them, in which
    ``fields`` finds nothing.
    """
    if data.startswith(_SQLITE_MAGIC):
        return _of_sqlite(data)
    if data.startswith(b"RpmP"):
        return _of_ndb(data)
    if rpm_berkeley.is_hash(data):
        return rpm_berkeley.values(data)
    raise ValueError("neither SQLite, ndb nor a Berkeley DB hash")


def fields(header: bytes) -> dict[str, str]:
    """What a header says of its package: name, version (``epoch:version-release``), vendor,
    license, arch; empty when it is damaged."""
    found: dict[str, str] = {}
    for name, kind, offset, data in _entries(header):
        if kind in (_STRING, _I18N):
            end = data.find(b"\0", offset)
            found[name] = data[offset : end if end >= 0 else None].decode("utf-8", "replace")
        elif kind == _INT32 and offset + 4 <= len(data):
            found[name] = str(int.from_bytes(data[offset : offset + 4], "big"))
    if not found.get("name") or not found.get("version"):
        return {}
    epoch, release = found.pop("epoch", ""), found.pop("release", "")
    found["version"] += f"-{release}" if release else ""
    found["epoch"] = epoch
    return found


def _entries(header: bytes) -> Iterator[tuple[str, int, int, bytes]]:
    """(name, type, offset into the data, the data) of the tags that count."""
    if len(header) < 8:
        return
    count, size = struct.unpack_from(">II", header)
    start = 8 + count * _ENTRY.size
    if count > _MOST_ENTRIES or size > _LARGEST_HEADER or start + size > len(header):
        return
    data = header[start : start + size]
    for tag, kind, offset, _ in _ENTRY.iter_unpack(header[8:start]):
        if tag in _TAGS and 0 <= offset < size:
            yield _TAGS[tag], kind, offset, data


def _of_ndb(data: bytes) -> Iterator[bytes]:
    """Slots of (magic, package, block, blocks) fill the first pages; a blob has a head of (magic,
    package, generation, length)."""
    if len(data) < 2 * _NDB_BLOCK:
        return
    pages = _NDB_HEAD.unpack_from(data)[3]
    end = min(pages * _NDB_PAGE, len(data) - len(data) % _NDB_BLOCK)
    for magic, package, block, blocks in _NDB_SLOT.iter_unpack(data[2 * _NDB_BLOCK : end]):
        start = block * _NDB_BLOCK
        if magic != b"Slot" or not block or start + _NDB_BLOCK > len(data):
            continue
        head, owner, _, length = _NDB_SLOT.unpack_from(data, start)
        if head == b"BlbS" and owner == package and length <= blocks * _NDB_BLOCK:
            yield data[start + _NDB_BLOCK : start + _NDB_BLOCK + length]


def _of_sqlite(data: bytes) -> Iterator[bytes]:
    connection = sqlite3.connect(":memory:")
    looks = 0

    def enough() -> bool:
        nonlocal looks
        looks += 1
        return looks > _MOST_STEPS

    try:
        # a database in memory has no log: without this SQLite would look for one
        connection.deserialize(data[:18] + b"\1\1" + data[20:])
        connection.setlimit(sqlite3.SQLITE_LIMIT_LENGTH, _LONGEST)
        connection.set_progress_handler(enough, _STEPS)
        connection.execute("PRAGMA trusted_schema=OFF")
        connection.execute("PRAGMA cell_size_check=ON")
        if _is_plain(connection):
            for (blob,) in connection.execute("SELECT blob FROM Packages"):
                if isinstance(blob, bytes):
                    yield blob
    except (sqlite3.Error, MemoryError, OverflowError, UnicodeDecodeError):
        return
    finally:
        connection.close()


def _is_plain(connection: sqlite3.Connection) -> bool:
    """Whether Packages is a table, and no view or module's that computes something."""
    rows = connection.execute("SELECT type, sql FROM sqlite_schema WHERE name = 'Packages'")
    found = rows.fetchall()
    return len(found) == 1 and found[0][0] == "table" and _is_create(found[0][1])


def _is_create(sql: object) -> bool:
    text = sql if isinstance(sql, str) else ""
    return bool(_CREATE.match(text)) and not _COMPUTED.search(text)
