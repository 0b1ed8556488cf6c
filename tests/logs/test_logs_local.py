"""The local format: what comes back, torn files, tails; compressed files of both formats."""

from __future__ import annotations

import gzip
import os
from collections.abc import Callable
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.logs import gzipped
from ketch.logs.decoding import JsonDecoder
from ketch.logs.entries import Entry, Selection
from ketch.logs.filelog import FileLog
from ketch.logs.files import LogFile, open_all, successor
from ketch.logs.jsonfile import JsonFileLog
from ketch.logs.lines import PIECE
from ketch.logs.localfile import LocalLog
from ketch.logs.reader import read

KINDS = [("json-file", JsonFileLog), ("local", LocalLog)]


class AtOnce:
    """Compresses in the writer's own process."""

    def start(self, path: str) -> None:
        gzipped.compress(f"{path}.1")

    def stop(self) -> None:
        """Nothing is ever unfinished."""


def entries(path: Path, driver: str, **selection: int) -> list[Entry]:
    return [e for batch in read(str(path), Selection(**selection), driver) for e in batch]


def lines(path: Path, driver: str, **selection: int) -> list[bytes]:
    return [line for entry in entries(path, driver, **selection) for line in entry.lines()]


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "x.log"


def test_streams_attributes_and_pieces(path: Path) -> None:
    log = LocalLog(str(path), attrs={"k": "v"})
    log.write("stdout", b"a\nb\nrest")
    log.write("stderr", b"\xff\0" * PIECE)
    log.close()
    found = entries(path, "local")
    assert [(e.stream, e.attrs) for e in found[:2]] == [
        ("stdout", {"k": "v"}),
        ("stderr", {"k": "v"}),
    ]
    assert found[0].data == b"a\nb\n"
    assert b"".join(e.data for e in found if e.stream == "stderr") == b"\xff\0" * PIECE
    assert found[-1].data in (b"rest", b"\xff\0" * PIECE)
    assert path.stat().st_mode & 0o777 == 0o640


@pytest.mark.parametrize("cut", [1, 5, 24, 30])
def test_a_torn_record_is_cut_off(path: Path, cut: int) -> None:
    log = LocalLog(str(path))
    for number in range(5):
        log.write("stdout", b"%d\n" % number)
    log.close()
    whole = path.stat().st_size
    os.truncate(path, whole - cut)
    missing = 2 if cut > 27 else 1
    assert lines(path, "local") == [b"%d\n" % n for n in range(5 - missing)]
    log = LocalLog(str(path))
    log.write("stdout", b"again\n")
    log.close()
    assert lines(path, "local")[-2:] == [b"%d\n" % (4 - missing), b"again\n"]


def test_zeros_of_a_power_cut_are_cut_off(path: Path) -> None:
    log = LocalLog(str(path))
    log.write("stdout", b"one\n")
    log.close()
    with path.open("ab") as file:
        file.write(bytes(5000))
    assert lines(path, "local") == [b"one\n"]
    log = LocalLog(str(path))
    log.write("stdout", b"two\n")
    log.close()
    assert lines(path, "local") == [b"one\n", b"two\n"]


@given(data=st.binary(max_size=300))
def test_any_file_is_read_without_an_error(data: bytes) -> None:
    import tempfile

    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        path.write_bytes(data)
        for driver, kind in KINDS:
            lines(path, driver)
            lines(path, driver, tail=2)
            kind(str(path)).close()


@pytest.mark.parametrize(("driver", "kind"), KINDS)
@pytest.mark.parametrize("tail", [0, 1, 299, 300, 301, 1000, 2999, 9999])
def test_tails_of_blocks_over_compressed_files(
    path: Path, driver: str, kind: Callable[..., FileLog], tail: int
) -> None:
    log = kind(str(path), 20_000, 50)
    log.file.compressor = AtOnce()
    for number in range(0, 3000, 300):
        log.write("stdout", b"".join(b"line %d\n" % n for n in range(number, number + 300)))
    log.close()
    names = [p.name for p in path.parent.iterdir()]
    assert sum(name.endswith(".gz") for name in names) == len(names) - 1 > 0
    expected = [b"line %d\n" % n for n in range(3000)]
    assert lines(path, driver) == expected
    assert lines(path, driver, tail=tail) == (expected[-tail:] if tail else [])


@pytest.mark.parametrize(("driver", "kind"), KINDS)
def test_bounds(path: Path, driver: str, kind: Callable[..., FileLog]) -> None:
    log = kind(str(path), 5000, 3)
    for number in range(2000):
        log.write("stdout", b"line %d\n" % number * (1 + number % 7))
    log.write("stdout", b"x" * 100_000 + b"\n")
    log.close()
    sizes = [p.stat().st_size for p in path.parent.iterdir()]
    assert len(sizes) == 3
    assert max(sizes) < 5000 + PIECE + 100


def test_who_follows_finds_his_place_when_his_file_is_compressed(path: Path) -> None:
    path.write_bytes(b"one\n")
    held = LogFile.open(str(path))
    for number in (2, 1):
        path.with_name(f"x.log.{number}").write_bytes(b"old\n")
    for number in (2, 1, 0):
        old = path.with_name(f"x.log.{number}") if number else path
        old.rename(path.with_name(f"x.log.{number + 1}"))
    path.write_bytes(b"two\n")
    gzipped.compress(str(path.with_name("x.log.1")))
    assert successor(str(path), held) is not None
    following = successor(str(path), held)
    assert following is not None
    assert b"".join(following.contents()) == b"two\n"
    assert gzip.decompress(path.with_name("x.log.1.gz").read_bytes()) == b"one\n"
    assert [b"".join(f.contents()) for f in open_all(str(path))][-2:] == [b"one\n", b"two\n"]


def test_runs_and_what_only_looks_like_one() -> None:
    border = b'","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n'
    records = [b'{"log":"a\\n', b'{"log":"b \\"q\\" \\\\n', b'{"log":"c\\n', b'{"log":"piece \\\\n']
    decoder = JsonDecoder()
    data = border.join(records) + border
    found = [e for n in range(0, len(data), 7) for e in decoder.feed(data[n : n + 7])]
    assert b"".join(e.data for e in found) == b'a\nb "q" \\nc\npiece \\n'
    found = JsonDecoder().feed(data)
    assert b"".join(e.data for e in found) == b'a\nb "q" \\nc\npiece \\n'


def record(text: bytes, stream: bytes = b"stdout") -> bytes:
    return b'{"log":"%b\\n","stream":"%b","time":"2026-01-01T00:00:00Z"}\n' % (text, stream)


@pytest.mark.parametrize(
    ("odd", "expected"),
    [
        (record(b"err", b"stderr"), (b"err\n", "stderr")),  # on a coarse clock, at the same instant
        (b'{"log":"torn', None),
        (b'"log":"no beginning\\n","stream":"stdout","time":"2026-01-01T00:00:00Z"}\n', None),
    ],
)
def test_a_stranger_in_the_middle_of_a_long_run(
    odd: bytes, expected: tuple[bytes, str] | None
) -> None:
    run = record(b"x" * 100) * 500
    found = JsonDecoder().feed(run + odd + run)
    strangers = [(e.data, e.stream) for e in found if b"x" * 100 not in e.data]
    assert strangers == ([expected] if expected else [])
    texts = b"".join(e.data for e in found if e.stream == "stdout").splitlines()
    lost = 0 if odd.endswith(b"\n") else 1  # what was torn off took the next line with it
    assert texts.count(b"x" * 100) == 1000 - lost


def test_long_runs_one_after_the_other() -> None:
    first = record(b'a \\"quoted\\" word') * 300
    second = first.replace(b"00:00:00Z", b"00:00:01.5Z").replace(b"quoted", b"other")
    single = record(b"single", b"stderr")
    data = (first + single + second) * 3
    decoder = JsonDecoder()
    found = [e for n in range(0, len(data), 9001) for e in decoder.feed(data[n : n + 9001])]
    text = b'a "quoted" word\n' * 300 + b"single\n" + b'a "other" word\n' * 300
    assert b"".join(e.data for e in found) == text * 3
    assert len({e.time for e in found}) == 2


@given(st.lists(st.text(max_size=20), max_size=10))
def test_json_blocks_come_back(texts: list[str]) -> None:
    import tempfile

    data = "".join(f"{text}\n" for text in texts).encode("utf-8", "surrogatepass")
    with tempfile.TemporaryDirectory() as folder:
        path = Path(folder) / "x"
        log = JsonFileLog(str(path))
        log.write("stdout", data)
        log.close()
        found = b"".join(lines(path, "json-file"))
    assert found == data.decode("utf-8", "replace").encode()
