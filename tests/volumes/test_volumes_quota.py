"""Bounded volumes on real file systems with project quotas, mounted by loop."""

from __future__ import annotations

import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from ketch.errors import InvalidParameter
from ketch.volumes import quota
from ketch.volumes.local import LocalDriver

pytestmark = [
    pytest.mark.root,
    pytest.mark.skipif(os.geteuid() != 0, reason="needs root"),
]
MAKERS = {"ext4": ("mkfs.ext4", "-q", "-O", "quota,project"), "xfs": ("mkfs.xfs", "-q")}


@pytest.fixture(params=sorted(MAKERS))
def bounded(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[Path]:
    """A directory of a file system that bounds projects."""
    kind = str(request.param)
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(320 << 20)
    if subprocess.run([*MAKERS[kind], image], capture_output=True, check=False).returncode:
        pytest.skip(f"needs {MAKERS[kind][0]}")
    command = ["mount", "-t", kind, "-o", "loop,prjquota", image, place]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip(f"the kernel mounts no {kind} with project quotas")
    try:
        yield place
    finally:
        subprocess.run(["umount", place], check=True)


def fill(path: Path, size: int) -> int:
    """Bytes written before the kernel says stop."""
    written = 0
    with open(path, "wb", buffering=0) as file:
        try:
            while written < size:
                written += file.write(b"x" * (1 << 16))
            os.fsync(file.fileno())
        except OSError as error:
            assert error.errno in (28, 122)  # noqa: PT017  ENOSPC, EDQUOT
    return written


def test_a_volume_is_bounded_and_its_neighbour_is_not(bounded: Path) -> None:
    driver = LocalDriver(str(bounded))
    small, other = driver.make("small", 1 << 20), driver.make("other")
    assert small.project
    assert not other.project
    assert fill(Path(small.path) / "a", 4 << 20) <= 1 << 20
    os.mkdir(f"{small.path}/deeper")
    assert fill(Path(small.path) / "deeper" / "b", 1 << 20) <= 1 << 16
    assert fill(Path(other.path) / "a", 4 << 20) == 4 << 20
    driver.release(small.project)
    assert driver.discard("small")
    again = driver.make("small", 8 << 20)
    assert again.project != small.project
    assert fill(Path(again.path) / "a", 4 << 20) == 4 << 20


def test_without_quotas_it_is_refused(tmp_path: Path) -> None:
    if quota.supported(str(tmp_path)):
        pytest.skip("the tests' own file system bounds projects")
    driver = LocalDriver(str(tmp_path))
    with pytest.raises(InvalidParameter, match="quota size requested but no quota support"):
        driver.make("small", 1 << 20)
    assert os.listdir(tmp_path / "volumes") == []
