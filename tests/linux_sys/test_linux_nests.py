"""Directories apart on the disk, on whatever file system the tests run."""

import fcntl
import os
import struct
from pathlib import Path

import pytest

from ketch.linux import nests as n

TOPDIR = 0x20000


def flags(path: Path) -> int:
    fd = os.open(path, os.O_RDONLY)
    try:
        found: int = struct.unpack("l", fcntl.ioctl(fd, 0x80086601, bytes(8)))[0]
        return found
    finally:
        os.close(fd)


def test_what_is_made_goes_round_the_nests(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(n, "wants_spreading", lambda path: True)
    made_in = n.Nests(str(tmp_path), 3)
    assert list(tmp_path.iterdir()) == [], "nothing is made before it is wanted"
    made = [made_in.path(f"x{number}") for number in range(4)]
    assert [Path(path).relative_to(tmp_path).as_posix() for path in made] == [
        "nests/00/x0", "nests/01/x1", "nests/02/x2", "nests/00/x3",
    ]  # fmt: skip
    for path in made[:2]:
        os.mkdir(path)
    (tmp_path / "tmp" / "other").mkdir()
    found = sorted(n.Nests(str(tmp_path), 3).everything())
    assert found == [*made[:2], str(tmp_path / "tmp" / "other")]
    assert n.Nests(str(tmp_path), 3).path("y") == f"{tmp_path}/nests/00/y", "they stay"


def test_who_knows_a_name_finds_its_place(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(n, "wants_spreading", lambda path: True)
    assert n.Nests(str(tmp_path), 3).by_name("x") == f"{tmp_path}/tmp/x", "nobody has made any"
    n.Nests(str(tmp_path), 3).prepare()
    names = [f"layer-{number}" for number in range(30)]
    places = [n.Nests(str(tmp_path), 3).by_name(name) for name in names]
    assert places == [n.Nests(str(tmp_path), 3).by_name(name) for name in names]
    assert len({os.path.dirname(place) for place in places}) == 3
    assert [os.path.basename(place) for place in places] == names


def test_where_nothing_is_gained_there_are_none(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(n, "wants_spreading", lambda path: False)
    assert n.Nests(str(tmp_path)).path("x") == f"{tmp_path}/tmp/x"
    assert list(tmp_path.rglob("*")) == [tmp_path / "tmp"]


def test_ext4_is_told(tmp_path: Path) -> None:
    if not n.wants_spreading(str(tmp_path)):
        pytest.skip("not an ext4 without a journal")
    n.Nests(str(tmp_path), 2).path("x")
    assert flags(tmp_path / "nests") & TOPDIR
    assert not flags(tmp_path / "nests" / "00") & TOPDIR


def test_a_file_system_without_such_a_flag_is_left_as_it_is() -> None:
    n.spread_directories("/proc")
    assert not n.wants_spreading("/proc")
