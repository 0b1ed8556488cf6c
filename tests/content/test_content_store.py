"""Blobs: complete and right, or not there."""

from __future__ import annotations

import os
import signal
import subprocess
import sys
from pathlib import Path

import pytest

from ketch.content.store import ContentStore
from ketch.errors import Conflict, DataCorrupt, InvalidParameter, NotFound
from ketch.oci import digest

DATA = os.urandom(3 << 20)
DIGEST = digest.of(DATA)


@pytest.fixture
def store(tmp_path: Path) -> ContentStore:
    return ContentStore(str(tmp_path))


def leftovers(tmp_path: Path) -> list[str]:
    return os.listdir(tmp_path / "content" / "ingest")


def test_put_and_read(store: ContentStore, tmp_path: Path) -> None:
    assert store.put(DATA) == DIGEST == store.put(DATA)
    assert store.has(DIGEST)
    assert store.size(DIGEST) == len(DATA)
    assert store.read(DIGEST) == DATA
    assert store.verify(DIGEST)
    assert list(store.walk()) == [(DIGEST, len(DATA))]
    assert leftovers(tmp_path) == []
    assert store.delete(DIGEST) == len(DATA)
    assert store.delete(DIGEST) == 0
    for call in (store.read, store.size, store.open):
        with pytest.raises(NotFound):
            call(DIGEST)


def test_only_digests_become_paths(store: ContentStore) -> None:
    for bad in ("", "sha256:../../../../etc/passwd", "sha256:" + "g" * 64, "md5:" + "a" * 32):
        with pytest.raises(InvalidParameter):
            store.path(bad)


def test_an_interrupted_ingest_goes_on(store: ContentStore) -> None:
    with store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(DATA[:1_000_000])
    with store.ingest(DIGEST, len(DATA)) as ingest:
        assert ingest.offset == 1_000_000
        ingest.write(DATA[1_000_000:])
        assert ingest.complete
        assert ingest.commit() == DIGEST
    assert store.read(DIGEST) == DATA


def test_two_writers_of_one_blob(store: ContentStore) -> None:
    with store.ingest(DIGEST), pytest.raises(Conflict):
        store.ingest(DIGEST)


@pytest.mark.parametrize(
    ("data", "size"),
    [
        (DATA[:-1], len(DATA)),
        (DATA[:-1], -1),
        (DATA[:-1] + bytes([DATA[-1] ^ 1]), len(DATA)),
        (DATA, len(DATA) - 1),
        (DATA, len(DATA) + 1),
        (b"", 0),
    ],
)
def test_wrong_bytes_are_not_kept(
    store: ContentStore, tmp_path: Path, data: bytes, size: int
) -> None:
    ingest = store.ingest(DIGEST, size)
    with pytest.raises(DataCorrupt):
        write_all(ingest, data)
    assert leftovers(tmp_path) == []
    assert not store.has(DIGEST)


def write_all(ingest, data: bytes) -> None:  # type: ignore[no-untyped-def]
    with ingest:
        ingest.write(data)
        ingest.commit()


def test_restart_forgets_what_was_there(store: ContentStore) -> None:
    with store.ingest(DIGEST, len(DATA)) as ingest:
        ingest.write(b"wrong")
        ingest.restart()
        ingest.write(DATA)
        assert ingest.commit() == DIGEST


def test_a_partial_that_is_too_long_is_begun_anew(store: ContentStore) -> None:
    with store.ingest(DIGEST) as ingest:
        ingest.write(DATA + b"more")
    assert store.ingest(DIGEST, len(DATA)).offset == 0


def test_damage_is_seen(store: ContentStore) -> None:
    store.put(DATA)
    with open(store.path(DIGEST), "r+b") as file:
        file.seek(1234)
        file.write(bytes([DATA[1234] ^ 1]))
    assert not store.verify(DIGEST)
    with pytest.raises(DataCorrupt, match="damaged"):
        store.read(DIGEST)


def test_sweep(store: ContentStore, tmp_path: Path) -> None:
    with store.ingest(DIGEST) as ingest:
        ingest.write(b"abc")
    nameless = store.ingest()
    nameless.write(b"12345")
    nameless.close()
    assert store.sweep_ingests() == 5
    assert len(leftovers(tmp_path)) == 1
    assert store.sweep_ingests(age=0) == 3
    assert leftovers(tmp_path) == []


WRITER = """
import os, sys
from ketch.content.store import ContentStore
store = ContentStore(sys.argv[1])
while True:
    print(store.put(os.urandom(200_000)), flush=True)
"""


def test_kill_9_leaves_whole_blobs_only(tmp_path: Path) -> None:
    acknowledged: list[str] = []
    for round_ in range(8):
        with subprocess.Popen(
            [sys.executable, "-c", WRITER, str(tmp_path)],
            stdout=subprocess.PIPE,
            env={**os.environ, "PYTHONPATH": str(Path(__file__).parents[2] / "src")},
        ) as writer:
            assert writer.stdout
            for _ in range(1 + 2 * round_):
                acknowledged.append(writer.stdout.readline().decode().strip())
            writer.send_signal(signal.SIGKILL)
    store = ContentStore(str(tmp_path))
    store.sweep_ingests()
    assert leftovers(tmp_path) == []
    stored = {found for found, _ in store.walk()}
    assert stored >= set(acknowledged)
    assert all(store.verify(found) for found in stored)
