"""The tests themselves: a file that nobody collects says nothing."""

from __future__ import annotations

from fnmatch import fnmatch
from pathlib import Path

import pytest

TESTS = Path(__file__).resolve().parents[1]


def test_every_folder_with_tests_is_collected(pytestconfig: pytest.Config) -> None:
    """pytest passes by folders of some names, ``build`` among them if it is not told otherwise."""
    folders = {file.parent for file in TESTS.rglob("test_*.py")}
    names = {part for folder in folders for part in folder.relative_to(TESTS).parts}
    assert "build" in names
    passed_by = [
        name
        for name in names
        if any(fnmatch(name, pattern) for pattern in pytestconfig.getini("norecursedirs"))
    ]
    assert not passed_by
