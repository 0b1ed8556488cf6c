"""Fixtures of the layers room: trees to archive, mounts that nobody else sees, chrooted workers."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from ketch.linux import mountapi
from layers.chrooted import run_in_root

CAPABILITY = bytes.fromhex("0100000200040000000000000000000000000000")


@pytest.fixture
def rich_tree(tmp_path: Path) -> Path:
    """A tree with one of everything that a layer can hold."""
    root = tmp_path / "rich"
    (root / "a/b/empty").mkdir(parents=True)
    for number in range(120):
        (root / "a/b" / f"f{number}").write_bytes(b"x" * number * 11)
    os.setxattr(root / "a/b/f3", "user.note", b"hello")
    os.setxattr(root / "a/b", "user.dir", b"d")
    os.chown(root / "a/b/f10", 70000, 3_000_000)
    os.chmod(root / "a/b/f9", 0o4755)
    os.setxattr(root / "a/b/f4", "security.capability", CAPABILITY)
    os.symlink("a/b", root / "link")
    os.symlink("t" * 600, root / "long-link")
    os.link(root / "a/b/f7", root / "hard")
    os.link(root / "link", root / "hard-link-to-link", follow_symlinks=False)
    os.mkfifo(root / "fifo", 0o640)
    os.mknod(root / "null", 0o666 | stat.S_IFCHR, os.makedev(1, 3))
    os.mknod(root / "disk", 0o600 | stat.S_IFBLK, os.makedev(259, 70000))
    (root / ("n" * 255)).write_bytes(b"long name")
    (root / "\udcff\udcfe").write_bytes(b"not utf-8")
    os.utime(root / "a/b/f5", ns=(1, 1_234_567_890_123_456_789))
    os.utime(root / "a/b/f6", ns=(1, -5_500_000_000))
    os.utime(root / "a/b/empty", ns=(1, 10**18 + 7))
    return root


@pytest.fixture
def gnu_tar(tmp_path: Path) -> Callable[..., Path]:
    """Archive a directory with GNU tar."""

    def make(tree: Path, *options: str) -> Path:
        target = tmp_path / f"{tree.name}.tar"
        command = ["tar", "-C", str(tree), "-cf", str(target)]
        subprocess.run([*command, "--sort=name", *options, "."], check=True, timeout=30)
        return target

    return make


@pytest.fixture
def open_image() -> Iterator[Callable[[str], str]]:
    """Mount an EROFS image detached (no namespace sees it); gives a path into it."""
    fds: list[int] = []

    def mount(image: str) -> str:
        fd = mountapi.new_filesystem("erofs", [("source", image)], mountapi.ATTR_RDONLY)
        fds.append(fd)
        return f"/proc/self/fd/{fd}"

    yield mount
    for fd in fds:
        os.close(fd)


def facts(path: str) -> dict[str, object]:
    """All that can be said of a file, but for its time of access and place on the disk."""
    info = os.lstat(path)
    found: dict[str, object] = {
        "mode": oct(info.st_mode),
        "owner": (info.st_uid, info.st_gid),
        "mtime": info.st_mtime_ns,
        "xattrs": {
            key: os.getxattr(path, key, follow_symlinks=False)
            for key in sorted(os.listxattr(path, follow_symlinks=False))
        },
    }
    if stat.S_ISREG(info.st_mode):
        found["content"] = Path(path).read_bytes()
        found["links"] = info.st_nlink
    elif stat.S_ISLNK(info.st_mode):
        found["target"] = os.readlink(path)
    elif not stat.S_ISDIR(info.st_mode):
        found["device"] = info.st_rdev
    return found


def snapshot(root: str) -> dict[str, dict[str, object]]:
    """``facts`` of every path below ``root``, which may be a magic link."""
    result = {".": facts(root + "/.")}
    for directory, names, files in os.walk(root + "/."):
        for name in names + files:
            path = os.path.join(directory, name)
            result[os.path.relpath(path, root + "/.")] = facts(path)
    return result


@pytest.fixture
def tree_of() -> Callable[[str], dict[str, dict[str, object]]]:
    return lambda root: snapshot(str(root))


@pytest.fixture
def in_root() -> Callable[..., object]:
    """Run a worker function in a forked child that is chrooted into a tree."""
    return run_in_root


@pytest.fixture
def outside(tmp_path: Path) -> Iterator[Path]:
    """A directory that no archive may change; checked after the test."""
    path = tmp_path / "outside"
    path.mkdir()
    (path / "secret").write_bytes(b"untouched")
    os.chmod(path / "secret", 0o600)
    os.utime(path / "secret", ns=(5, 5))
    before = snapshot(str(path))
    yield path
    assert snapshot(str(path)) == before
    shutil.rmtree(path)
