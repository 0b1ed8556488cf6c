"""tar → EROFS, judged by the kernel's own driver against GNU tar's extraction."""

from __future__ import annotations

import filecmp
import io
import os
import stat
import subprocess
import tarfile

import pytest

from ketch.layers.entry import Entry
from ketch.layers.erofs import DATA_START, finish_image
from ketch.layers.scan import scan
from ketch.layers.tarwrite import TarWriter

pytestmark = pytest.mark.root


def make_image(path, tar) -> str:
    fd = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
    os.lseek(fd, DATA_START, os.SEEK_SET)
    found = scan(tar, fd, at=DATA_START)
    finish_image(fd, found.tree, found.tar_size, bytes(16))
    os.close(fd)
    return str(path)


@pytest.mark.parametrize("form", ["pax", "gnu"])
def test_kernel_sees_what_gnu_tar_extracts(tmp_path, rich_tree, gnu_tar, open_image, tree_of, form):
    options = ["--xattrs", "--xattrs-include=*"] if form == "pax" else ["--format=gnu"]
    archive = gnu_tar(rich_tree, *options)
    extracted = tmp_path / "extracted"
    extracted.mkdir()
    subprocess.run(["tar", *options, "-C", extracted, "-xpf", archive], check=True)
    with open(archive, "rb") as tar:
        image = make_image(tmp_path / "image", tar)
    assert tree_of(open_image(image)) == tree_of(extracted)


def test_directories_of_all_sizes(tmp_path, open_image):
    """Names that fill blocks to the last byte, and many blocks."""
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    expected: dict[str, list[str]] = {}
    for count in (0, 1, 2, 17, 18, 400, 3000):
        names = [f"{n:0{1 + (n * 37 + count) % 250}d}" for n in range(count)]
        expected[f"d{count}"] = sorted({*names})
        for name in names:
            writer.add(Entry(f"d{count}/{name}".encode(), stat.S_IFREG | 0o644))
        writer.add(Entry(f"d{count}".encode(), stat.S_IFDIR | 0o755))
    writer.finish()
    buffer.seek(0)
    root = open_image(make_image(tmp_path / "image", buffer))
    for directory, names in expected.items():
        assert sorted(os.listdir(f"{root}/{directory}")) == names
        assert all(os.path.exists(f"{root}/{directory}/{name}") for name in names)
        assert not os.path.exists(f"{root}/{directory}/absent")


def test_large_xattrs_and_every_inode_alignment(tmp_path, open_image):
    buffer = io.BytesIO()
    writer = TarWriter(buffer)
    for size in [*range(0, 620, 13), 4000, 65000]:
        entry = Entry(b"l%d" % size, stat.S_IFLNK | 0o777)
        entry.link = b"x" * (size % 4000 + 1)
        entry.xattrs = {b"trusted.v": b"v" * size} if size else {}
        writer.add(entry)
    writer.finish()
    buffer.seek(0)
    root = open_image(make_image(tmp_path / "image", buffer))
    for size in [*range(13, 620, 13), 4000, 65000]:
        assert len(os.readlink(f"{root}/l{size}")) == size % 4000 + 1
        value = os.getxattr(f"{root}/l{size}", "trusted.v", follow_symlinks=False)
        assert value == b"v" * size


def test_duplicate_paths_last_one_wins(tmp_path, open_image):
    buffer = io.BytesIO()
    with tarfile.open(fileobj=buffer, mode="w") as tar:
        for content in (b"first", b"second, longer"):
            info = tarfile.TarInfo("same")
            info.size = len(content)
            tar.addfile(info, io.BytesIO(content))
        for kind in (tarfile.REGTYPE, tarfile.DIRTYPE):
            info = tarfile.TarInfo("turned")
            info.type = kind
            tar.addfile(info)
        info = tarfile.TarInfo("turned/child")
        tar.addfile(info)
    buffer.seek(0)
    root = open_image(make_image(tmp_path / "image", buffer))
    with open(f"{root}/same", "rb") as file:
        assert file.read() == b"second, longer"
    assert os.listdir(f"{root}/turned") == ["child"]


def test_empty_tar_is_an_empty_tree(tmp_path, open_image):
    root = open_image(make_image(tmp_path / "image", io.BytesIO(bytes(1024))))
    assert os.listdir(root) == []
    assert stat.S_IMODE(os.stat(root).st_mode) == 0o755


def test_zeros_take_no_room(tmp_path, open_image):
    """A sparse file of a build, or an archive of zeros, must not fill the disk."""
    size = (100 << 20) + 1
    with open(tmp_path / "sparse", "w+b") as sparse:
        sparse.truncate(size)
        sparse.seek(50 << 20)
        sparse.write(b"in the middle")
        with open(tmp_path / "tar", "w+b") as out:
            writer = TarWriter(out)
            entry = Entry(b"sparse", stat.S_IFREG | 0o644)
            entry.size = size
            sparse.seek(0)
            writer.add(entry, sparse.fileno())
            writer.finish()
            out.seek(0)
            image = make_image(tmp_path / "image", out)
    assert os.stat(image).st_blocks * 512 < 8 << 20
    assert filecmp.cmp(tmp_path / "sparse", f"{open_image(image)}/sparse", shallow=False)
