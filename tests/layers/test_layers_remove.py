"""Deleting trees that somebody else made, or deletes at the same time."""

from __future__ import annotations

import os
import shutil
from pathlib import Path

import pytest

from ketch.layers.remove import remove


@pytest.fixture
def tree(tmp_path: Path) -> Path:
    top = tmp_path / "tree"
    for number in range(3):
        below = top / f"d{number}" / "e"
        below.mkdir(parents=True)
        for name in ("f", "g"):
            (below / name).write_text(name)
    return top


@pytest.mark.parametrize("at", range(1, 16))
def test_somebody_else_deletes_it_too(tree: Path, at: int) -> None:
    told = 0

    def on_inode() -> None:
        nonlocal told
        told += 1
        if told == at:
            shutil.rmtree(tree, ignore_errors=True)

    fd = os.open(tree.parent, os.O_RDONLY | os.O_DIRECTORY)
    try:
        remove(fd, b"tree", on_inode)
        remove(fd, b"tree")
    finally:
        os.close(fd)
    assert not tree.exists()


def test_directories_that_are_too_deep_to_be_open_at_once(tmp_path: Path) -> None:
    deep = tmp_path / "tree" / Path(*["d"] * 250)
    deep.mkdir(parents=True)
    (deep / "f").write_text("f")
    fd = os.open(tmp_path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        remove(fd, b"tree")
    finally:
        os.close(fd)
    assert os.listdir(tmp_path) == []
