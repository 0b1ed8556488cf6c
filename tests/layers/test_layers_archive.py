"""cp, export, COPY and ADD on real trees, with hostile archives; workers run chrooted."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile

import pytest

from ketch.errors import InvalidParameter, KetchError, NotFound
from ketch.layers import archive

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    (path / "etc/deep").mkdir(parents=True)
    (path / "etc/hosts").write_bytes(b"hosts")
    (path / "etc/deep/x").write_bytes(b"x")
    (path / "lib").symlink_to("/etc/deep")
    (path / "dangling").symlink_to("nowhere")
    return path


def packed(*members: tuple) -> bytes:
    """A tar of (name, type, content or link target) members."""
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w", format=tarfile.PAX_FORMAT) as tar:
        for name, kind, content in members:
            info = tarfile.TarInfo(name)
            info.type, info.mode, info.mtime = kind, 0o4777, 77
            if kind == tarfile.REGTYPE:
                info.size = len(content)
            elif content:
                info.linkname = content
            tar.addfile(info, io.BytesIO(content if kind == tarfile.REGTYPE else b""))
    return buffer.getvalue()


@pytest.fixture
def put(in_root, root, tmp_path):
    def run(data: bytes, path: str = "/", **options):
        (tmp_path / "in.tar").write_bytes(data)
        fd = os.open(tmp_path / "in.tar", os.O_RDONLY)
        try:
            return in_root(root, archive.put, {"path": path, **options}, [fd])
        finally:
            os.close(fd)

    return run


@pytest.fixture
def get(in_root, root, tmp_path):
    def run(task, args: dict):
        fd = os.open(tmp_path / "out.tar", os.O_RDWR | os.O_CREAT | os.O_TRUNC)
        try:
            in_root(root, task, args, [fd])
        finally:
            os.close(fd)
        with tarfile.open(tmp_path / "out.tar") as tar:
            return {info.name: info for info in tar}

    return run


def test_stat(in_root, root):
    found = in_root(root, archive.stat, {"path": "/etc/hosts"})
    assert (found["name"], found["size"]) == ("hosts", 5)
    assert stat.S_ISREG(found["mode"])
    assert in_root(root, archive.stat, {"path": "lib"})["link_target"] == "/etc/deep"
    assert stat.S_ISDIR(in_root(root, archive.stat, {"path": "lib/"})["mode"])
    assert in_root(root, archive.stat, {"path": "/"})["name"] == "/"
    with pytest.raises(NotFound):
        in_root(root, archive.stat, {"path": "/nope"})
    with pytest.raises(InvalidParameter, match="empty"):
        in_root(root, archive.stat, {"path": ""})
    with pytest.raises(KetchError, match="lstat"):
        in_root(root, archive.stat, {"path": "/etc/hosts/"})


def test_get_names(get):
    assert list(get(archive.get, {"path": "/etc/hosts"})) == ["hosts"]
    assert list(get(archive.get, {"path": "/etc/deep"})) == ["deep", "deep/x"]
    assert list(get(archive.get, {"path": "/etc/deep/."})) == [".", "./x"]
    assert get(archive.get, {"path": "/lib"})["lib"].issym()
    assert list(get(archive.get, {"path": "/lib/"})) == ["lib", "lib/x"]
    assert "./etc/hosts" in get(archive.get, {"path": "/"})


def test_export_and_put_back(get, tmp_path, in_root, rich_tree, tree_of):
    out = os.open(tmp_path / "all.tar", os.O_RDWR | os.O_CREAT)
    in_root(rich_tree, archive.export, {}, [out])
    os.lseek(out, 0, os.SEEK_SET)
    copy = tmp_path / "copy"
    copy.mkdir()
    in_root(copy, archive.put, {"path": "/"}, [out])
    os.close(out)
    expected, found = tree_of(rich_tree), tree_of(copy)
    expected.pop("."), found.pop(".")
    assert found == expected


def test_put_merges_replaces_and_keeps_attributes(put, root):
    put(packed(("etc", tarfile.DIRTYPE, ""), ("etc/hosts", tarfile.REGTYPE, b"new")))
    assert (root / "etc/hosts").read_bytes() == b"new"
    assert (root / "etc/deep/x").exists()
    assert os.stat(root / "etc/hosts").st_mode & 0o7777 == 0o4777
    assert os.stat(root / "etc").st_mtime == 77
    put(packed(("etc", tarfile.REGTYPE, b"file now")), chown=[12, 34])
    assert os.stat(root / "etc").st_uid == 12


def test_put_follows_links_inside_the_root_only(put, root):
    put(packed(("y", tarfile.REGTYPE, b"y")), path="/lib")
    assert (root / "etc/deep/y").read_bytes() == b"y"
    put(packed(("lib/z", tarfile.REGTYPE, b"z")))
    assert (root / "etc/deep/z").read_bytes() == b"z"


def test_put_refusals(put):
    with pytest.raises(InvalidParameter, match="extraction point is not a directory"):
        put(packed(), path="/etc/hosts")
    with pytest.raises(NotFound):
        put(packed(), path="/nope")
    strict = {"no_overwrite_dir_non_dir": True}
    with pytest.raises(InvalidParameter, match="cannot overwrite directory '/etc/deep'"):
        put(packed(("deep", tarfile.REGTYPE, b"")), path="/etc", **strict)
    with pytest.raises(InvalidParameter, match="cannot overwrite non-directory '/etc/hosts'"):
        put(packed(("hosts", tarfile.DIRTYPE, "")), path="/etc", **strict)
    with pytest.raises(KetchError):
        put(b"garbage" * 200)


def test_hostile_archives_change_nothing_outside(tmp_path, outside, tree_of):
    """Not chrooted: openat2 alone must hold."""
    target = tmp_path / "victim"
    secret = str(outside / "secret")
    up = "../" * 20
    attacks = [
        [(f"{up}{secret}", tarfile.REGTYPE, b"!")],
        [(secret, tarfile.REGTYPE, b"!")],
        [("l", tarfile.SYMTYPE, str(outside)), ("l/secret", tarfile.REGTYPE, b"!")],
        [("l", tarfile.SYMTYPE, up + str(outside)), ("l/new", tarfile.REGTYPE, b"!")],
        [("l", tarfile.SYMTYPE, secret), ("l", tarfile.REGTYPE, b"!")],
        [("h", tarfile.LNKTYPE, secret), ("h", tarfile.REGTYPE, b"!")],
        [("h", tarfile.LNKTYPE, up + secret)],
        [("s", tarfile.SYMTYPE, secret), ("h", tarfile.LNKTYPE, "s"), ("h", tarfile.CHRTYPE, "")],
        [("s", tarfile.SYMTYPE, str(outside)), ("h", tarfile.LNKTYPE, "s/secret")],
        [("s", tarfile.SYMTYPE, str(outside)), ("s", tarfile.DIRTYPE, "")],
        [("s", tarfile.SYMTYPE, str(outside)), ("s/d", tarfile.DIRTYPE, "")],
        [("p", tarfile.SYMTYPE, "/proc/self/root"), ("p/etc/x", tarfile.REGTYPE, b"!")],
    ]
    for number, members in enumerate(attacks):
        victim = target / str(number)
        victim.mkdir(parents=True)
        _unpack_unconfined(victim, packed(*members))


def _unpack_unconfined(victim, data: bytes) -> None:
    from ketch.layers.placing import unpack_stream
    from ketch.layers.unpack import Unpacker

    fd = os.open(victim, os.O_RDONLY | os.O_DIRECTORY)
    try:
        unpack_stream(io.BytesIO(data), Unpacker(fd, b""))
    except (KetchError, OSError):
        pass
    finally:
        os.close(fd)


def test_hard_link_to_a_link_leaves_its_target_alone(put, root, outside):
    """A3: the later chmod, chown and times must hit the link, not what it points at."""
    before = os.stat(root / "etc/hosts")
    put(
        packed(("s", tarfile.SYMTYPE, "/etc/hosts"), ("h", tarfile.LNKTYPE, "s")),
        chown=[99, 99],
    )
    after = os.stat(root / "etc/hosts")
    assert (before.st_mode, before.st_uid, before.st_mtime_ns) == (
        after.st_mode,
        after.st_uid,
        after.st_mtime_ns,
    )
    assert os.lstat(root / "h").st_ino == os.lstat(root / "s").st_ino


def test_copy_up_fills_an_empty_volume_once(in_root, root, tmp_path):
    os.chmod(root / "etc", 0o711)
    volume = tmp_path / "volume"
    volume.mkdir()
    fd = os.open(volume, os.O_RDONLY | os.O_DIRECTORY)
    try:
        assert in_root(root, archive.copy_up, {"path": "/etc"}, [fd])["entries"] == 3
        assert (volume / "deep/x").read_bytes() == b"x"
        assert stat.S_IMODE(os.stat(volume).st_mode) == 0o711
        assert in_root(root, archive.copy_up, {"path": "/etc"}, [fd])["entries"] == 0
    finally:
        os.close(fd)


def test_export_is_read_by_gnu_tar(in_root, rich_tree, tmp_path, tree_of):
    out = os.open(tmp_path / "all.tar", os.O_RDWR | os.O_CREAT)
    in_root(rich_tree, archive.export, {}, [out])
    os.close(out)
    copy = tmp_path / "copy"
    copy.mkdir()
    subprocess.run(
        ["tar", "--xattrs", "--xattrs-include=*", "-C", copy, "-xpf", tmp_path / "all.tar"],
        check=True,
    )
    expected, found = tree_of(rich_tree), tree_of(copy)
    expected.pop("."), found.pop(".")
    assert found == expected
