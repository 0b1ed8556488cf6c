"""Fixtures of the runtime's tests: a cgroup parent and roots of their own."""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path

import pytest
from sandbox_runner import Runner, busybox_tree, remove_parent


@pytest.fixture(scope="session")
def cgroup_parent() -> Iterator[str]:
    """The path of a cgroup below which tests may make theirs; removed at the end."""
    parent = f"/ketch-test-{os.getpid()}"
    yield parent
    remove_parent(parent)


@pytest.fixture(scope="module")
def runner(tmp_path_factory: pytest.TempPathFactory, cgroup_parent: str) -> Runner:
    """Sandboxes over a busybox tree."""
    base = tmp_path_factory.mktemp("sandbox")
    return Runner(base, busybox_tree(base), cgroup_parent)


@pytest.fixture(scope="module")
def python_runner(tmp_path_factory: pytest.TempPathFactory, cgroup_parent: str) -> Runner:
    """Sandboxes over the host's own root as a layer, which has the tests' interpreter."""
    return Runner(tmp_path_factory.mktemp("python"), Path("/"), cgroup_parent)
