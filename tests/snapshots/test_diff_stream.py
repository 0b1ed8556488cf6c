"""The diff of an upper directory as a stream, made by a child when it is large."""

from __future__ import annotations

import io
import os
import signal
from pathlib import Path

import pytest

from ketch.errors import DataCorrupt, InvalidParameter
from ketch.layers.diff import open_upper, write_diff
from ketch.snapshots.diff_stream import SMALL, DiffStream

SIZES = [10, SMALL - 600, SMALL + 1, 3 * SMALL + 17]


def children() -> set[str]:
    """Pids of this process's children, dead ones too."""
    found = Path("/proc/thread-self/children").read_text().split()
    return {pid for pid in found if pid.isdigit()}


@pytest.fixture
def upper(tmp_path):
    before = children()
    fd = open_upper(str(tmp_path))
    yield fd
    os.close(fd)
    assert children() <= before  # a child that is dead would be there too


@pytest.mark.parametrize("size", SIZES)
def test_the_bytes_are_those_of_the_diff(tmp_path, upper, size):
    for number in range(3):
        (tmp_path / f"f{number}").write_bytes(os.urandom(size))
    (tmp_path / "z").symlink_to("f0")
    wanted = io.BytesIO()
    write_diff(upper, wanted, 10**18)
    with DiffStream(upper, 10**18) as tar:
        assert tar.read() + tar.read() == wanted.getvalue()
        assert tar.read(1) == b""


def drained(tar) -> None:
    while tar.read(1 << 20):
        pass


def all_read(upper) -> None:
    with DiffStream(upper, None) as tar:
        drained(tar)


@pytest.mark.parametrize("size", SIZES)
def test_what_is_wrong_late_is_told_and_no_end_is_seen(tmp_path, upper, size):
    (tmp_path / "a").write_bytes(bytes(size))
    (tmp_path / "b").mkdir()
    (tmp_path / "b" / ".wh.x").touch()
    with pytest.raises(InvalidParameter, match=r"b/\.wh\.x"):
        all_read(upper)


def test_whoever_reads_no_more_leaves_no_child(tmp_path, upper):
    (tmp_path / "a").write_bytes(bytes(8 * SMALL))
    with DiffStream(upper, None) as tar:
        assert len(tar.read(100)) == 100


def test_a_child_that_is_killed_makes_no_whole_tar(tmp_path, upper):
    (tmp_path / "a").write_bytes(bytes(8 * SMALL))
    with DiffStream(upper, None) as tar:
        os.kill(tar._child, signal.SIGKILL)
        with pytest.raises(DataCorrupt, match="could not be read to its end"):
            drained(tar)
