"""The local driver on a real file system."""

from __future__ import annotations

import os
import stat
import subprocess
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.errors import InvalidParameter
from ketch.volumes.local import LocalDriver


@pytest.fixture
def driver(tmp_path: Path) -> LocalDriver:
    return LocalDriver(str(tmp_path))


def test_directory_has_its_mode_whatever_the_umask(driver: LocalDriver, tmp_path: Path) -> None:
    old = os.umask(0o077)
    try:
        path = driver.make("data").path
    finally:
        os.umask(old)
    assert path == f"{tmp_path}/volumes/data/_data"
    assert stat.S_IMODE(os.stat(path).st_mode) == 0o755


def test_new_volume_never_shows_what_an_old_one_left(driver: LocalDriver) -> None:
    Path(driver.make("data").path, "secret").write_text("old")
    assert os.listdir(driver.make("data").path) == []


def test_discard_keeps_the_data_in_the_trash(driver: LocalDriver, tmp_path: Path) -> None:
    Path(driver.make("data").path, "file").write_text("x")
    name = driver.discard("data")
    assert (tmp_path / "trash" / name / "_data" / "file").read_text() == "x"
    assert driver.discard("data") == ""


def test_sweep_takes_only_what_no_record_names(driver: LocalDriver, tmp_path: Path) -> None:
    for name in ("kept", "orphan"):
        driver.make(name)
    (tmp_path / "volumes" / "lost+found").mkdir()
    assert driver.sweep({"kept"}) == (1, [])
    assert sorted(os.listdir(tmp_path / "volumes")) == ["kept", "lost+found"]
    assert len(os.listdir(tmp_path / "trash")) == 1


def test_size_counts_inodes_once_and_follows_no_link(driver: LocalDriver, tmp_path: Path) -> None:
    (tmp_path / "outside").write_bytes(b"x" * 1000)
    data = Path(driver.make("data").path)
    (data / "a").write_bytes(b"x" * 10)
    os.link(data / "a", data / "b")
    os.symlink(tmp_path / "outside", data / "link")
    assert driver.size("data") == 10 + len(str(tmp_path / "outside"))
    assert driver.size("missing") == 0


def test_size_of_a_tree_deeper_than_any_path(driver: LocalDriver) -> None:
    fd = os.open(driver.make("data").path, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    os.close(fd)
    try:
        assert driver.size("data") == 0
    finally:  # pytest's own clean-up recurses and gives up
        subprocess.run(["rm", "-rf", driver.mountpoint("data")], check=True)


@pytest.mark.parametrize(
    "name", ["", ".", "..", "../x", "a/b", "a b", ".hid", "ä1", "ab\n", "a\0b"]
)
def test_hostile_names_are_refused(driver: LocalDriver, name: str) -> None:
    with pytest.raises(InvalidParameter, match="includes invalid characters"):
        driver.check_name(name)


@pytest.mark.parametrize("name", ["v", "a" * 256])
def test_names_of_wrong_length_are_refused(driver: LocalDriver, name: str) -> None:
    with pytest.raises(InvalidParameter, match=r"at (least two|most)"):
        driver.check_name(name)


@given(st.text(max_size=300))
def test_accepted_names_stay_in_their_directory(name: str) -> None:
    driver = LocalDriver.__new__(LocalDriver)
    try:
        driver.check_name(name)
    except InvalidParameter:
        return
    assert os.path.basename(os.path.normpath(f"/top/{name}")) == name
