"""Layers of COPY written at once are what a copy into a snapshot would have come to."""

from __future__ import annotations

import os
import shutil
import stat
import subprocess
import tarfile
from pathlib import Path
from typing import Any

import pytest

from ketch.build.tasks import copy as copy_tasks
from ketch.errors import InvalidParameter
from layers.chrooted import run_in_root

pytestmark = pytest.mark.root
Facts = dict[str, tuple[object, ...]]


@pytest.fixture
def base(tmp_path: Path) -> Path:
    path = tmp_path / "base"
    (path / "etc/deep").mkdir(parents=True)
    (path / "etc/hosts").write_bytes(b"hosts")
    os.chmod(path / "etc", 0o750)
    os.chown(path / "etc", 7, 8)
    (path / "lib").symlink_to("/etc/deep")
    (path / "etc/link").symlink_to("hosts")
    return path


@pytest.fixture
def source(tmp_path: Path) -> Path:
    path = tmp_path / "source"
    (path / "src/sub/empty").mkdir(parents=True)
    (path / "src/main.c").write_bytes(b"main" * 5000)
    (path / "src/sub/util.c").write_bytes(b"util")
    (path / "src/l").symlink_to("main.c")
    os.link(path / "src/main.c", path / "src/sub/hard")
    (path / "src/hosts").write_bytes(b"other hosts")
    (path / "src/deep").mkdir(mode=0o700)
    (path / "src/link").write_bytes(b"a file over a link")
    (path / "a.txt").write_bytes(b"a")
    (path / "b.txt").write_bytes(b"b")
    os.chown(path / "a.txt", 1000, 1000)
    os.setxattr(path / "a.txt", "user.key", b"value")
    return path


def facts(root: Path) -> Facts:
    """All that a tree holds; not the times of directories, which say when they were filled."""
    found: Facts = {}
    for folder, directories, files in os.walk(root):
        for name in (*directories, *files):
            path = Path(folder, name)
            info = path.lstat()
            what: tuple[object, ...] = (info.st_mode, info.st_uid, info.st_gid)
            if stat.S_ISLNK(info.st_mode):
                what = (*what, os.readlink(path))
            elif stat.S_ISREG(info.st_mode):
                attributes = {key: os.getxattr(path, key) for key in os.listxattr(path)}
                what = (*what, info.st_mtime_ns, info.st_nlink, path.read_bytes(), attributes)
            found[str(path.relative_to(root))] = what
    return found


def written(base: Path, source: Path, tmp_path: Path, args: dict[str, Any]) -> bool:
    """Write the layer to ``layer.tar``; whether it could be."""
    given = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    layer = os.open(tmp_path / "layer.tar", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
    try:
        return bool(run_in_root(base, copy_tasks.layer, args, [given, layer])["plain"])
    finally:
        os.close(given)
        os.close(layer)


@pytest.mark.parametrize(
    ("sources", "destination", "options"),
    [
        (["a.txt"], "/new/name", {}),
        (["a.txt"], "/dir/", {}),
        (["a.txt"], "/etc", {}),
        (["a.txt"], "/etc/hosts", {}),
        (["src"], "/app", {}),
        (["src"], "/etc", {}),
        (["src/sub"], "/", {"chown": [3, 4]}),
        (["."], "/all/", {"chmod": "u=rwX,go=", "chown": [0, 0]}),
        (["*.txt"], "/texts/", {"chown": [0, 0]}),
        (["src", "b.txt"], "/mixed/deeper/", {"chmod": "751"}),
    ],
)
def test_the_same_as_in_a_snapshot(
    base: Path, source: Path, tmp_path: Path, sources: list[str], destination: str, options: Any
) -> None:
    args = {"sources": sources, "destination": destination, **options}
    snapshot = tmp_path / "snapshot"
    shutil.copytree(base, snapshot, symlinks=True)
    subprocess.run(["cp", "-a", "--", f"{base}/.", str(snapshot)], check=True)
    assert written(base, source, tmp_path, args)
    given = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    run_in_root(snapshot, copy_tasks.copy, args, [given])
    os.close(given)
    layer = str(tmp_path / "layer.tar")
    unpack = ["tar", "-xpf", layer, "--numeric-owner", "--xattrs", "--xattrs-include=*"]
    subprocess.run([*unpack, "-C", str(base)], check=True)
    assert facts(base) == facts(snapshot)
    with tarfile.open(layer) as tar:
        names = tar.getnames()
        links = [member for member in tar if member.islnk()]
    assert len(names) == len(set(names))
    for member in links:  # Docker sets owner, mode and time with every name of an inode
        info = os.stat(snapshot / member.name)
        found = (info.st_uid, info.st_gid, stat.S_IMODE(info.st_mode), int(info.st_mtime))
        assert (member.uid, member.gid, member.mode, int(member.mtime)) == found


@pytest.mark.parametrize("destination", ["/etc", "/new/one", "/lib"])
def test_a_directory_gives_its_time(
    base: Path, source: Path, tmp_path: Path, destination: str
) -> None:
    """Its mode only to what is new, and only where one is asked for; as in BuildKit."""
    os.utime(source / "src", (5, 5))
    there = os.path.realpath(base / "etc/deep" if destination == "/lib" else f"{base}{destination}")
    mode = os.stat(there).st_mode if os.path.exists(there) else stat.S_IFDIR | 0o710
    args = {"sources": ["src"], "destination": destination, "chmod": "710"}
    if written(base, source, tmp_path, args):
        with tarfile.open(tmp_path / "layer.tar") as tar:
            member = tar.getmember(destination[1:])
            assert (member.mtime, member.mode) == (5, stat.S_IMODE(mode))
    given = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    run_in_root(base, copy_tasks.copy, args, [given])
    os.close(given)
    found = os.stat(there)
    assert (found.st_mtime, found.st_mode) == (5, mode)


def test_a_link_to_a_file_is_followed(base: Path, source: Path) -> None:
    args = {"sources": ["a.txt"], "destination": "/etc/link"}
    given = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    run_in_root(base, copy_tasks.copy, args, [given])
    os.symlink("/etc/loop", base / "etc/loop")
    with pytest.raises(InvalidParameter, match="too many symbolic links"):
        run_in_root(base, copy_tasks.copy, {**args, "destination": "/etc/loop"}, [given])
    os.close(given)
    assert (base / "etc/link").is_symlink()
    assert (base / "etc/hosts").read_bytes() == (source / "a.txt").read_bytes()


@pytest.mark.parametrize(
    ("sources", "destination"),
    [
        (["a.txt"], "/lib/"),  # a link on the way
        (["a.txt"], "/lib/below/x"),
        (["a.txt"], "/etc/link"),  # the file that it leads to
        (["src"], "/etc/hosts/"),  # refused, which is the other way's to say
        (["src/sub"], "/etc/hosts"),
        (["a.txt", "b.txt"], "/one"),
        (["a.txt", "a.txt"], "/twice/"),
    ],
)
def test_what_depends_on_more_than_names(
    base: Path, source: Path, tmp_path: Path, sources: list[str], destination: str
) -> None:
    args = {"sources": sources, "destination": destination}
    assert not written(base, source, tmp_path, args)


@pytest.mark.parametrize(
    ("sources", "time"),
    [
        (["src", "more"], 6),
        (["more", "src"], 5),
        (["a.txt", "more"], 6),
        (["src", "more", "a.txt"], None),
        (["[ms]*"], 5),
    ],
)
@pytest.mark.parametrize("destination", ["/etc/", "/new/one/"])
def test_the_last_directory_gives_its_time(
    base: Path, source: Path, tmp_path: Path, destination: str, sources: list[str], time: int | None
) -> None:
    (source / "more").mkdir()
    for name, when in (("src", 5), ("more", 6)):
        os.utime(source / name, (when, when))
    args = {"sources": sources, "destination": destination}
    assert written(base, source, tmp_path, args)
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert (tar.getmember(destination.strip("/")).mtime == time) is (time is not None)
    given = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    run_in_root(base, copy_tasks.copy, args, [given])
    os.close(given)
    assert (os.stat(f"{base}{destination}").st_mtime == time) is (time is not None)


@pytest.mark.parametrize(
    ("chmod", "mode"),
    [("700", 0o700), ("0644", 0o644), ("0", 0), ("1777", 0o755), ("u=rwX,go=", 0o755), ("", 0o755)],
)
def test_directories_that_have_to_be_made(
    base: Path, source: Path, tmp_path: Path, chmod: str, mode: int
) -> None:
    """An octal mode without special bits is theirs too, as in BuildKit."""
    args = {"sources": ["a.txt", "b.txt"], "destination": "/new/one/", "chmod": chmod}
    assert written(base, source, tmp_path, args)
    given = os.open(source, os.O_RDONLY | os.O_DIRECTORY)
    run_in_root(base, copy_tasks.copy, args, [given])
    os.close(given)
    with tarfile.open(tmp_path / "layer.tar") as tar:
        for name in ("new", "new/one"):
            assert tar.getmember(name).mode == stat.S_IMODE(os.stat(base / name).st_mode) == mode


def test_no_file_becomes_a_whiteout(base: Path, source: Path, tmp_path: Path) -> None:
    (source / "src/.wh.hosts").write_bytes(b"")
    assert not written(base, source, tmp_path, {"sources": ["src"], "destination": "/etc"})
    os.remove(source / "src/.wh.hosts")
    os.mknod(source / "src/null", 0o600 | stat.S_IFCHR, os.makedev(0, 0))
    assert not written(base, source, tmp_path, {"sources": ["src"], "destination": "/etc"})


def test_archives_that_are_to_be_unpacked(base: Path, source: Path, tmp_path: Path) -> None:
    args = {"destination": "/x/", "extract": True}
    assert not written(base, source, tmp_path, {**args, "sources": ["a.txt"]})
    assert written(base, source, tmp_path, {**args, "sources": ["src"]})


def test_no_time_is_later_than_asked(base: Path, source: Path, tmp_path: Path) -> None:
    args = {"sources": ["src"], "destination": "/etc/new/", "newest": 5_000_000_000}
    assert written(base, source, tmp_path, args)
    with tarfile.open(tmp_path / "layer.tar") as tar:
        assert {member.mtime for member in tar if not member.islnk()} == {5}
