"""The json-file writer against an independent reader: Python's own ``json``."""

import json
import os
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.logs.jsonfile import JsonFileLog
from ketch.logs.lines import PIECE


def records(path: Path) -> list[dict[str, object]]:
    return [json.loads(line) for line in path.read_bytes().splitlines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x-json.log"


def test_lines_are_logged_when_complete(path: Path) -> None:
    log = JsonFileLog(str(path), attrs={"k": "v"})
    log.write("stdout", b"one\ntw")
    assert [r["log"] for r in records(path)] == ["one\n"]
    log.write("stderr", b"err\n")
    log.write("stdout", b"o\nlast")
    log.close()
    assert [(r["log"], r["stream"]) for r in records(path)] == [
        ("one\n", "stdout"),
        ("err\n", "stderr"),
        ("two\n", "stdout"),
        ("last", "stdout"),
    ]
    assert list(records(path)[0]) == ["log", "stream", "attrs", "time"]
    assert path.stat().st_mode & 0o777 == 0o640


def test_long_lines_come_in_pieces(path: Path) -> None:
    log = JsonFileLog(str(path))
    text = "é" * PIECE
    log.write("stdout", text.encode()[:1001])
    log.write("stdout", text.encode()[1001:] + b"\nshort\n")
    log.write("stdout", b"x" * (PIECE + 5))
    log.close()
    logged = [str(r["log"]) for r in records(path)]
    assert "".join(logged) == text + "\nshort\n" + "x" * (PIECE + 5)
    assert max(len(piece.encode()) for piece in logged) <= PIECE


def test_rotation_keeps_the_bound_and_whole_records(path: Path) -> None:
    log = JsonFileLog(str(path), max_size=5000, max_file=3)
    for number in range(1000):
        log.write("stdout", b"line %d\n" % number * (1 + number % 7))
    log.close()
    files = [path.with_name(path.name + suffix) for suffix in (".2", ".1", "")]
    assert sorted(p.name for p in path.parent.iterdir()) == sorted(p.name for p in files)
    kept = [r["log"] for file in files for r in records(file)]
    assert kept[-1] == "line 999\n"
    assert all(file.stat().st_size < 5000 + 120 for file in files)
    assert all(file.stat().st_size >= 5000 for file in files[:2])


def test_one_file_is_begun_anew(path: Path) -> None:
    log = JsonFileLog(str(path), max_size=1000, max_file=1)
    log.write("stdout", b"0123456789\n" * 500)
    log.close()
    assert os.listdir(path.parent) == [path.name]
    assert path.stat().st_size < 1200


def test_a_torn_record_is_closed_off(path: Path) -> None:
    path.write_bytes(b'{"log":"a\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n{"lo')
    log = JsonFileLog(str(path))
    log.write("stdout", b"b\n")
    log.close()
    lines = path.read_bytes().splitlines()
    assert lines[1] == b'{"lo'
    assert json.loads(lines[2])["log"] == "b\n"


@pytest.mark.root
def test_a_full_disk_tears_nothing(tmp_path: Path, capfd: pytest.CaptureFixture[str]) -> None:
    pytest.importorskip("ctypes")
    resource = pytest.importorskip("resource")
    signal = pytest.importorskip("signal")
    path = tmp_path / "full.log"
    old = resource.getrlimit(resource.RLIMIT_FSIZE)
    handler = signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    log = JsonFileLog(str(path))
    try:
        resource.setrlimit(resource.RLIMIT_FSIZE, (1000, old[1]))
        for _ in range(50):
            log.write("stdout", b"0123456789\n" * 3)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, old)
        signal.signal(signal.SIGXFSZ, handler)
    log.write("stdout", b"after\n")
    log.close()
    assert [r["log"] for r in records(path)][-1] == "after\n"
    assert capfd.readouterr().err.count("lines are lost") == 1


@given(st.lists(st.binary(max_size=200), max_size=20))
def test_any_bytes_come_back(chunks: list[bytes]) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as directory:
        path = Path(directory) / "x.log"
        log = JsonFileLog(str(path))
        for chunk in chunks:
            log.write("stdout", chunk)
        log.close()
        logged = "".join(json.loads(line)["log"] for line in path.read_bytes().split(b"\n")[:-1])
    parts = b"".join(chunks).split(b"\n")
    assert logged == "\n".join(part.decode("utf-8", "replace") for part in parts)
