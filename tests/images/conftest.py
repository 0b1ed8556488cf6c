"""Fixtures: a rig per test, one registry per module."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

import pytest

from images.image_rig import Registry, Rig


@pytest.fixture
def rig(tmp_path: Path) -> Rig:
    return Rig(tmp_path / "data")


@pytest.fixture(scope="module")
def registry(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Registry]:
    found = Registry(tmp_path_factory.mktemp("registry"))
    yield found
    found.close()
