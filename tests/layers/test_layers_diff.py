"""Diffs of real overlay mounts, applied again, must give the same tree."""

from __future__ import annotations

import io
import os
import shutil
import tarfile

import pytest

from ketch.errors import InvalidParameter
from ketch.layers.diff import changes, write_diff
from ketch.linux import mountapi

pytestmark = pytest.mark.root


class Overlay:
    """A detached overlay mount over one lower directory."""

    def __init__(self, base) -> None:
        self.dirs = {name: base / name for name in ("lower", "upper", "work")}
        for path in self.dirs.values():
            path.mkdir(parents=True)
        lower = self.dirs["lower"]
        for name in ("kept", "changed", "gone", "dir/a", "dir/b", "emptied/x", "replaced/old"):
            (lower / name).parent.mkdir(exist_ok=True)
            (lower / name).write_text(name)
        self.fd = -1

    def mount(self) -> str:
        options = [(f"{key}dir", str(path)) for key, path in self.dirs.items()]
        options += [("index", "off"), ("redirect_dir", "off"), ("metacopy", "off")]
        self.fd = mountapi.new_filesystem("overlay", options)
        return f"/proc/self/fd/{self.fd}"

    def close(self) -> None:
        if self.fd >= 0:
            os.close(self.fd)


@pytest.fixture
def overlay(tmp_path):
    made = Overlay(tmp_path / "overlay")
    yield made
    made.close()


def edit(root: str) -> None:
    with open(f"{root}/changed", "a") as file:
        file.write("!")
    os.unlink(f"{root}/gone")
    os.unlink(f"{root}/dir/a")
    shutil.rmtree(f"{root}/replaced")
    os.mkdir(f"{root}/replaced")
    with open(f"{root}/replaced/new", "w") as file:
        file.write("new")
    shutil.rmtree(f"{root}/emptied")
    os.makedirs(f"{root}/fresh/deep")
    os.symlink("/x", f"{root}/fresh/deep/link")


def diff_of(upper) -> bytes:
    buffer = io.BytesIO()
    fd = os.open(upper, os.O_RDONLY | os.O_DIRECTORY)
    try:
        write_diff(fd, buffer)
    finally:
        os.close(fd)
    return buffer.getvalue()


def test_diff_names(overlay):
    edit(overlay.mount())
    with tarfile.open(fileobj=io.BytesIO(diff_of(overlay.dirs["upper"]))) as tar:
        names = tar.getnames()
    assert sorted(names) == sorted(
        [
            ".wh.emptied", ".wh.gone", "changed", "dir", "dir/.wh.a", "fresh", "fresh/deep",
            "fresh/deep/link", "replaced", "replaced/.wh..wh..opq", "replaced/new",
        ]
    )  # fmt: skip
    assert diff_of(overlay.dirs["upper"]) == diff_of(overlay.dirs["upper"])


def test_changes_as_docker_diff(overlay):
    edit(overlay.mount())
    fds = [os.open(overlay.dirs[name], os.O_RDONLY) for name in ("upper", "lower")]
    try:
        found = list(changes(*fds))
    finally:
        for fd in fds:
            os.close(fd)
    assert found == [
        ("/changed", 0), ("/dir", 0), ("/dir/a", 2), ("/emptied", 2), ("/fresh", 1),
        ("/fresh/deep", 1), ("/fresh/deep/link", 1), ("/gone", 2), ("/replaced", 0),
        ("/replaced/new", 1), ("/replaced/old", 2),
    ]  # fmt: skip


def test_metadata_copy_up_counts(overlay):
    os.chmod(f"{overlay.mount()}/kept", 0o600)
    with tarfile.open(fileobj=io.BytesIO(diff_of(overlay.dirs["upper"]))) as tar:
        assert tar.getmember("kept").mode == 0o600


def test_a_file_that_is_named_like_a_whiteout(overlay):
    with open(f"{overlay.mount()}/.wh.trap", "w"):
        pass
    with pytest.raises(InvalidParameter, match=r"\.wh\."):
        diff_of(overlay.dirs["upper"])
