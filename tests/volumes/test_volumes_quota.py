"""Bounded volumes on real file systems with project quotas, mounted by loop."""

from __future__ import annotations

import fcntl
import os
import struct
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


LAYOUTS = r"""
#include <linux/dqblk_xfs.h>
#include <linux/fs.h>
#include <linux/quota.h>
#include <stddef.h>
#include <stdio.h>
int main(void) {
    printf("%zu %zu %zu %zu ", sizeof(struct fs_disk_quota), offsetof(struct fs_disk_quota, d_id),
           offsetof(struct fs_disk_quota, d_blk_hardlimit),
           offsetof(struct fs_disk_quota, d_rtb_hardlimit));
    printf("%zu %zu ", sizeof(struct fsxattr), offsetof(struct fsxattr, fsx_projid));
    printf("%zu ", offsetof(struct fs_quota_stat, qs_flags));
    printf("%x %x %d %d %d %x %lx %lx", Q_XGETQSTAT, Q_XSETQLIM, FS_QUOTA_PDQ_ENFD, FS_PROJ_QUOTA,
           FS_DQ_BSOFT | FS_DQ_BHARD, FS_XFLAG_PROJINHERIT, FS_IOC_FSGETXATTR, FS_IOC_FSSETXATTR);
}
"""


def test_layouts_and_numbers_are_the_kernels(tmp_path: Path) -> None:
    """The kernel's own headers, compiled."""
    (tmp_path / "layouts.c").write_text(LAYOUTS)
    compiled = subprocess.run(
        ["cc", "-o", tmp_path / "layouts", tmp_path / "layouts.c"], capture_output=True, check=False
    )
    if compiled.returncode:
        pytest.skip("needs a C compiler and the kernel's headers")
    said = subprocess.run([tmp_path / "layouts"], capture_output=True, text=True, check=True)
    prefix = struct.calcsize("=bbHI6Q2i2H4x")
    ours = [quota._LIMIT.size, 4, 8, prefix, quota._ATTRIBUTES.size, 12, 2]
    numbers = [
        f"{quota._XFS_GET_STATE:x}", f"{quota._XFS_SET_LIMIT:x}", str(quota._ENFORCED),
        str(quota._OF_PROJECT), str(quota._SPACE), f"{quota._INHERIT:x}",
        f"{quota._GET_ATTRIBUTES:x}", f"{quota._SET_ATTRIBUTES:x}",
    ]  # fmt: skip
    assert said.stdout.split() == [*map(str, ours), *numbers]


def project_of(fd: int) -> int:
    attributes = bytearray(quota._ATTRIBUTES.size)
    fcntl.ioctl(fd, quota._GET_ATTRIBUTES, attributes)
    return int(quota._ATTRIBUTES.unpack(attributes)[3])


def test_what_is_made_inside_belongs_to_the_project(tmp_path: Path) -> None:
    image, place = tmp_path / "image", tmp_path / "mounted"
    place.mkdir()
    with image.open("wb") as file:
        file.truncate(320 << 20)
    if subprocess.run(["mkfs.xfs", "-q", image], capture_output=True, check=False).returncode:
        pytest.skip("needs mkfs.xfs")
    command = ["mount", "-t", "xfs", "-o", "loop", image, place]
    if subprocess.run(command, capture_output=True, check=False).returncode:
        pytest.skip("the kernel has no xfs")
    try:
        folder = os.open(place, os.O_RDONLY)
        quota._set_project(folder, 1 << 21)
        os.mkdir(place / "inner")
        inner = os.open(place / "inner", os.O_RDONLY)
        assert project_of(folder) == project_of(inner) == 1 << 21
        os.close(inner)
        os.close(folder)
    finally:
        subprocess.run(["umount", place], check=True)
