"""Users out of hostile passwd and group files."""

from __future__ import annotations

import os
import resource
import time
from pathlib import Path

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from ketch.errors import StartFailed
from ketch.runtime import users


@pytest.fixture
def root(tmp_path: Path) -> Path:
    (tmp_path / "etc").mkdir()
    return tmp_path


def resolve(root: Path, user: str, add: tuple[str, ...] = ()) -> users.Identity:
    fd = os.open(root, os.O_PATH | os.O_DIRECTORY)
    try:
        return users.resolve(fd, user, add)
    finally:
        os.close(fd)


def test_no_files_at_all(root: Path) -> None:
    found = resolve(root, "")
    assert (found.uid, found.gid, found.groups) == (0, 0, [0])
    assert resolve(root, "7:8").gid == 8


@pytest.mark.parametrize(
    "user",
    ["-1", "2147483648", "4294967295", "99999999999999999999", "0:-1", "0:2147483648", "+-1",
     "-0x1", "1.5", "٣", "0x10", " 0", "a b", ":", "::", "0:0:0", "\n", "root\n"],
)  # fmt: skip
def test_odd_users_are_refused_or_root(root: Path, user: str) -> None:
    (root / "etc/passwd").write_text("root:x:0:0::/root:\n")
    (root / "etc/group").write_text("root:x:0:\n")
    try:
        found = resolve(root, user)
    except StartFailed:
        return
    assert (found.uid, found.gid) == (0, 0)
    assert user.startswith(":")


@pytest.mark.parametrize("name", ["passwd", "group"])
def test_not_a_regular_file(root: Path, name: str) -> None:
    os.mkfifo(root / "etc" / name)
    before = time.monotonic()
    with pytest.raises(StartFailed, match="not a regular file"):
        resolve(root, "a:b" if name == "passwd" else "0:b")
    assert time.monotonic() - before < 1


@pytest.mark.root
def test_device_as_passwd(root: Path) -> None:
    os.mknod(root / "etc/passwd", 0o20666, os.makedev(1, 5))
    with pytest.raises(StartFailed, match="not a regular file"):
        resolve(root, "a")


def test_directory_as_passwd(root: Path) -> None:
    (root / "etc/passwd").mkdir()
    with pytest.raises(StartFailed):
        resolve(root, "a")


def test_links_stay_inside(root: Path) -> None:
    (root / "etc/passwd").symlink_to("/etc/real")
    (root / "etc/real").write_text("bob:x:5:6::/b:\n")
    assert resolve(root, "bob").uid == 5
    (root / "etc/passwd").unlink()
    (root / "etc/passwd").symlink_to("../../../../../../../../etc/passwd")
    with pytest.raises(StartFailed):  # a link to itself
        resolve(root, "root")


def test_huge_files_are_refused_quickly(root: Path) -> None:
    with open(root / "etc/passwd", "w") as file:
        file.truncate(10 << 30)
    before, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    with pytest.raises(StartFailed, match="larger than"):
        resolve(root, "a")
    assert time.monotonic() - before < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20 << 10


def test_largest_file_and_longest_line(root: Path) -> None:
    line = "someone:x:{}:0::/home/someone:/bin/sh\n"
    text = "".join(line.format(number) for number in range(150_000))
    (root / "etc/passwd").write_text(text + "last:x:77:78::/l:\n")
    before, memory = time.monotonic(), resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
    assert resolve(root, "last").gid == 78
    assert time.monotonic() - before < 2
    assert resource.getrusage(resource.RUSAGE_SELF).ru_maxrss - memory < 20 << 10
    (root / "etc/passwd").write_text("x" * (1 << 20))
    with pytest.raises(StartFailed, match="too long a line"):
        resolve(root, "last")


def test_entries_out_of_range_are_skipped(root: Path) -> None:
    (root / "etc/passwd").write_text(
        "a:x:-1:0::/:\na:x:0:99999999999::/:\na:x\n:x:0:0::/:\n+::::::\na:x:3:4:g:/h:/s"
    )
    found = resolve(root, "a")
    assert (found.uid, found.gid, found.home) == (3, 4, "/h")


@settings(max_examples=200, deadline=None)
@given(st.binary(max_size=400), st.binary(max_size=400), st.text(max_size=20))
def test_any_bytes(tmp_path_factory: pytest.TempPathFactory, a: bytes, b: bytes, user: str) -> None:
    root = tmp_path_factory.getbasetemp() / "fuzz"
    (root / "etc").mkdir(parents=True, exist_ok=True)
    (root / "etc/passwd").write_bytes(a)
    (root / "etc/group").write_bytes(b)
    try:
        found = resolve(root, user, (user,))
    except StartFailed:
        return
    assert 0 <= found.uid <= users.MAX_ID
    assert all(0 <= group <= users.MAX_ID for group in [found.gid, *found.groups])
