"""Trees that others fill are measured, whatever they do to them."""

from __future__ import annotations

import os
import resource
import stat
from collections.abc import Iterator
from pathlib import Path

import pytest

from ketch.engine.builder.cache.mounts import size_of
from ketch.layers.remove import remove
from ketch.linux.below import stats_below
from ketch.snapshots.protocol import Usage
from ketch.snapshots.usage import measure


@pytest.fixture
def deep(tmp_path: Path) -> Iterator[Path]:
    """Deeper than Python recurses and than a path may be long, with a file at the bottom."""
    top = tmp_path / "deep"
    top.mkdir()
    fd = os.open(top, os.O_RDONLY)
    for _ in range(1500):
        os.mkdir("deeper", dir_fd=fd)
        below = os.open("deeper", os.O_RDONLY, dir_fd=fd)
        os.close(fd)
        fd = below
    with open(os.open("file", os.O_WRONLY | os.O_CREAT, dir_fd=fd), "wb") as file:
        file.write(b"x" * 5000)
    os.close(fd)
    yield top
    parent = os.open(tmp_path, os.O_RDONLY)
    remove(parent, b"deep")  # pytest's own clean-up recurses
    os.close(parent)


def test_no_depth_is_too_deep(deep: Path) -> None:
    (deep / "beside").write_bytes(b"y" * 100)
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    resource.setrlimit(resource.RLIMIT_NOFILE, (len(os.listdir("/proc/self/fd")) + 50, hard))
    try:
        assert measure(str(deep)) == Usage(size=5100, inodes=1502)
        assert size_of(str(deep)) == 8192 + 4096
    finally:
        resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def test_links_lead_nowhere(tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    (tmp_path / "outside/file").write_bytes(b"x")
    looked = tmp_path / "looked"
    looked.mkdir()
    (looked / "link").symlink_to(tmp_path / "outside")
    assert [stat.S_ISLNK(info.st_mode) for info in stats_below(str(looked))] == [True]
    assert list(stats_below(str(looked / "link"))) == []
    assert list(stats_below(str(looked / "missing"))) == []


def test_a_directory_that_moves_leads_nowhere_else(tmp_path: Path) -> None:
    """Its ``..`` is another directory then, with files that are none of the tree's."""
    inner = tmp_path / "looked/inner"
    (inner / "innermost").mkdir(parents=True)
    (tmp_path / "outside").write_bytes(b"x" * 77)
    found = stats_below(str(tmp_path / "looked"))
    for _ in range(2):
        next(found)
    inner.rename(tmp_path / "moved")
    (tmp_path / "looked/other").write_bytes(b"x" * 78)
    assert not [info for info in found if info.st_size in (77, 78)]
