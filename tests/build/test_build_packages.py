"""Databases of packages: rpm's own, made-up ones, and what is neither."""

from __future__ import annotations

import os
import shutil
import sqlite3
import struct
import subprocess
from pathlib import Path
from typing import Literal

import pytest
from hypothesis import example, given
from hypothesis import strategies as st

from ketch.build.tasks.packages import _rpm
from ketch.build.tasks.rpm_database import fields, headers

SPEC = """Name: hello
Version: 1.2
Release: 3
Epoch: 1
Summary: x
License: MIT and BSD
Vendor: Some One
BuildArch: noarch
%description
x
%files
"""
TEXTS = {1000: "bash", 1001: "5.2", 1002: "1.fc40", 1011: "Fedora", 1014: "GPL", 1022: "x86_64"}
BASH = {
    "name": "bash", "version": "5.2-1.fc40", "vendor": "Fedora", "license": "GPL",
    "arch": "x86_64", "epoch": "",
}  # fmt: skip


def header(texts: dict[int, str] = TEXTS, epoch: int | None = None) -> bytes:
    """As the specification has it."""
    entries, data = [], b""
    for tag, text in texts.items():
        entries.append(struct.pack(">IIiI", tag, 6, len(data), 1))
        data += text.encode() + b"\0"
    if epoch is not None:
        data += bytes(-len(data) % 4)
        entries.append(struct.pack(">IIiI", 1003, 4, len(data), 1))
        data += struct.pack(">I", epoch)
    return struct.pack(">II", len(entries), len(data)) + b"".join(entries) + data


def ndb(*blobs: bytes) -> bytes:
    """One page of slots, and the blobs behind it."""
    slots, body, block = b"", b"", 4096 // 16
    for number, blob in enumerate(blobs, 1):
        whole = struct.pack("<4sIII", b"BlbS", number, 1, len(blob)) + blob
        whole += struct.pack("<II4s", 0, len(blob), b"BlbE")
        whole += bytes(-len(whole) % 16)
        slots += struct.pack("<4sIII", b"Slot", number, block, len(whole) // 16)
        block += len(whole) // 16
        body += whole
    head = struct.pack("<4sIIII12x", b"RpmP", 0, 1, 1, len(blobs) + 1)
    empty = struct.pack("<4sIII", b"Slot", 0, 0, 0)
    page = head + slots + empty * ((4096 - len(head) - len(slots)) // 16)
    return page + body


def sqlite(*statements: str, blob: bytes = b"") -> bytes:
    connection = sqlite3.connect(":memory:")
    for statement in statements:
        connection.execute(statement, (blob,) if "?" in statement else ())
    connection.commit()
    return connection.serialize()


def berkeley(path: Path, *blobs: bytes, page: int = 4096, order: int = 1234) -> bytes:
    """By Berkeley DB itself: keys are numbers, key 0 counts, as rpm has it."""
    if shutil.which("db5.3_load") is None:
        pytest.skip("needs db5.3-util")
    pairs = [struct.pack("<I", len(blobs)), *blobs]
    lines = ["VERSION=3", "format=bytevalue", "type=hash", f"db_pagesize={page}"]
    lines += [f"db_lorder={order}", "HEADER=END"]
    for number, blob in enumerate(pairs):
        lines += [f" {struct.pack('<I', number).hex()}", f" {blob.hex()}"]
    text = "\n".join([*lines, "DATA=END", ""])
    subprocess.run(["db5.3_load", str(path)], input=text, text=True, check=True)
    return path.read_bytes()


TABLE = "CREATE TABLE Packages (hnum INTEGER PRIMARY KEY AUTOINCREMENT, blob BLOB NOT NULL)"


def test_what_rpm_itself_wrote(tmp_path: Path) -> None:
    if shutil.which("rpmbuild") is None:
        pytest.skip("needs rpm")
    (tmp_path / "p.spec").write_text(SPEC)
    words = ["rpmbuild", "-bb", "--define", f"_topdir {tmp_path}", f"{tmp_path}/p.spec"]
    subprocess.run(words, check=True, capture_output=True)
    (package,) = tmp_path.glob("RPMS/*/*.rpm")
    root = tmp_path / "root"
    root.mkdir()
    words = ["rpm", "--define", "_db_backend sqlite", "--dbpath", "/var/lib/rpm"]
    words += ["--root", str(root), "-i", "--nodeps", str(package)]
    subprocess.run(words, check=True, capture_output=True)
    fd = os.open(root, os.O_RDONLY | os.O_DIRECTORY)
    unread: list[str] = []
    try:
        (found,) = _rpm(fd, unread)
    finally:
        os.close(fd)
    assert (found["type"], found["name"], found["version"]) == ("rpm", "hello", "1.2-3")
    assert (found["epoch"], found["license"], found["supplier"]) == ("1", "MIT and BSD", "Some One")
    assert unread == []


def test_made_up_ones() -> None:
    assert fields(header()) == BASH
    assert fields(header(epoch=7)) == {**BASH, "epoch": "7"}
    stored = sqlite(TABLE, "INSERT INTO Packages (blob) VALUES (?)", blob=header())
    logged = stored[:18] + b"\2\2" + stored[20:]  # a database that is written with a log
    for data in (stored, logged, ndb(b"", header())):
        assert [found for blob in headers(data) if (found := fields(blob))] == [BASH]


@pytest.mark.parametrize(("page", "order"), [(512, 1234), (4096, 4321), (65536, 1234)])
def test_what_berkeley_db_itself_wrote(tmp_path: Path, page: int, order: int) -> None:
    """Headers that fit into a page and that do not, many of them."""
    small = [header({**TEXTS, 1000: f"small{i}"}) for i in range(300)]
    large = [header({**TEXTS, 1000: f"large{i}", 1004: "x" * 9000}) for i in range(20)]
    data = berkeley(tmp_path / "Packages", *small, *large, page=page, order=order)
    found = {name for blob in headers(data) if (name := fields(blob).get("name"))}
    assert found == {f"small{i}" for i in range(300)} | {f"large{i}" for i in range(20)}
    assert list(headers(data[:page])) == []


def test_the_newer_database_is_read_where_both_are(tmp_path: Path) -> None:
    """The newer kind wins where both are: rpm leaves the old one behind when it converts."""
    folder = tmp_path / "var/lib/rpm"
    folder.mkdir(parents=True)
    berkeley(folder / "Packages", header(epoch=7), header({**TEXTS, 1000: "gpg-pubkey"}))
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    unread: list[str] = []
    try:
        (package,) = _rpm(fd, unread)
        assert (package["name"], package["epoch"]) == ("bash", "7")
        (folder / "rpmdb.sqlite").write_bytes(sqlite(TABLE))
        assert list(_rpm(fd, unread)) == []
    finally:
        os.close(fd)
    assert unread == []


def test_lies_in_berkeley_db(tmp_path: Path) -> None:
    """A page of overflow that is its own next one, and one that two values claim."""
    large = header({**TEXTS, 1004: "x" * 9000})
    data = bytearray(berkeley(tmp_path / "Packages", large))
    overflow = [at for at in range(0, len(data), 4096) if data[at + 25] == 7]
    for at in overflow:
        data[at + 16 : at + 20] = (at // 4096).to_bytes(4, "little")
    assert [fields(blob) for blob in headers(bytes(data))] == [{}]


@pytest.mark.parametrize(
    "statements",
    [
        ("CREATE VIEW Packages AS WITH RECURSIVE n(i) AS (VALUES(1) UNION ALL SELECT i FROM n)"
         " SELECT i AS blob FROM n",),
        ("CREATE TABLE Packages (a, blob AS(zeroblob(1000000000)))",
         "INSERT INTO Packages (a) VALUES (1)"),
        ("CREATE TABLE other (a)",),
    ],
)  # fmt: skip
def test_schemas_that_compute(statements: tuple[str, ...]) -> None:
    assert list(headers(sqlite(*statements))) == []


def test_lies_in_ndb() -> None:
    data = ndb(header())
    for change in (struct.pack("<I", 1 << 30), struct.pack("<I", 0)):
        lying = data[:40] + change + data[44:]  # where the blob begins
        assert list(headers(lying)) == []
    assert list(headers(data[:4096])) == []
    with pytest.raises(ValueError, match="neither"):
        headers(b"\0" * 4096)


@given(st.binary(max_size=300))
def test_any_bytes(data: bytes) -> None:
    fields(data)
    for start in (b"SQLite format 3\0", b"RpmP\0\0\0\0\0\0\0\0\1\0\0\0"):
        for blob in headers(start + data):
            fields(blob)


@given(st.binary(max_size=600), st.sampled_from(("little", "big")))
def test_any_bytes_of_berkeley_db(data: bytes, order: Literal["little", "big"]) -> None:
    """A first page that says 512 bytes a page, and anything behind it."""
    first = bytes(12) + (0x061561).to_bytes(4, order) + bytes(4) + (512).to_bytes(4, order)
    for kind in (7, 13):
        page = (data[:25] + bytes([kind]) + data[25:]).ljust(1024, b"\0")
        for blob in headers(first.ljust(512, b"\0") + page):
            fields(blob)


@given(st.integers(0, 16000), st.integers(0, 255))
@example(4016, 128)  # the schema's text is no UTF-8, nor is the error about it
def test_a_damaged_database(place: int, value: int) -> None:
    data = bytearray(sqlite(TABLE, "INSERT INTO Packages (blob) VALUES (?)", blob=header()))
    if place >= 16:
        data[place % len(data)] = value
    if data.startswith(b"SQLite format 3\0"):
        for blob in headers(bytes(data)):
            fields(blob)
