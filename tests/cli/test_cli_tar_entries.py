"""Contexts as tar streams: what GNU tar and Python's library read of them."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import tarfile
from pathlib import Path

from hypothesis import given
from hypothesis import strategies as st

from ketch.cli import context, tar_entries


def make(root: Path) -> None:
    (root / "deep" / ("d" * 60) / ("e" * 60)).mkdir(parents=True)
    (root / "deep" / ("d" * 60) / ("e" * 60) / "file").write_bytes(b"deep")
    (root / "a").write_bytes(b"x" * 700)
    (root / "empty").touch()
    (root / "한글").write_bytes(b"utf-8")
    (root / "bad\udcff").write_bytes(b"bytes")
    (root / "link").symlink_to("a")
    (root / "long").symlink_to("t" * 150)
    os.mkfifo(root / "fifo")
    os.chmod(root / "a", 0o4755)
    os.utime(root / "a", (1_234_567_890.7, 1_234_567_890.7))
    os.utime(root / "empty", (-5, -5))
    (root / "Dockerfile").write_text("FROM scratch\n")


def test_every_kind_of_path_is_read_by_gnu_tar(tmp_path: Path) -> None:
    source, copy = tmp_path / "source", tmp_path / "copy"
    source.mkdir()
    copy.mkdir()
    make(source)
    (tmp_path / "c.tar").write_bytes(
        b"".join(context.stream(context.parts(str(source), "Dockerfile")))
    )
    subprocess.run(["tar", "-C", copy, "-xpf", tmp_path / "c.tar"], check=True)
    names = sorted(os.path.relpath(path, source) for path in source.rglob("*"))
    assert names == sorted(os.path.relpath(path, copy) for path in copy.rglob("*"))
    for name in names:
        before, after = os.lstat(source / name), os.lstat(copy / name)
        assert stat.S_IFMT(before.st_mode) == stat.S_IFMT(after.st_mode), name
        if not stat.S_ISLNK(before.st_mode):
            assert before.st_mode == after.st_mode, name
            assert int(before.st_mtime) == int(after.st_mtime), name
        if stat.S_ISREG(before.st_mode):
            assert (source / name).read_bytes() == (copy / name).read_bytes()
    assert os.readlink(copy / "long") == "t" * 150


@given(
    st.text(alphabet="abc/한", min_size=1, max_size=120).filter(lambda t: t.strip("/")),
    st.integers(0, 0o7777),
    st.integers(0, 5000),
    st.floats(-1e10, 1e11),
)
def test_heads_are_what_the_library_reads(name: str, mode: int, size: int, time: float) -> None:
    info = os.stat_result((stat.S_IFREG | mode, 0, 0, 1, 0, 0, size, 0, time, 0))
    data = tar_entries._head(name, "", info, size) + bytes(size + -size % 512) + tar_entries.END
    with tarfile.open(fileobj=io.BytesIO(data)) as tar:
        (member,) = tar.getmembers()
    assert (member.mode, member.size, member.mtime) == (mode, size, int(time))
    assert member.name.strip("/") == name.strip("/")


def test_a_file_that_shrinks_or_grows_keeps_its_place(tmp_path: Path) -> None:
    path = tmp_path / "f"
    path.write_bytes(b"y" * 1000)
    pieces = tar_entries.of_path(str(tmp_path), "f")
    head = next(pieces)
    path.write_bytes(b"y" * 10)
    rest = b"".join(pieces)
    assert (len(head), len(rest)) == (512, 1024)
    assert rest.startswith(b"y" * 10 + bytes(990))
