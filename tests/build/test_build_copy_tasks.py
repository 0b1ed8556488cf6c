"""COPY and ADD on real trees; workers run chrooted."""

from __future__ import annotations

import os
import stat
import tarfile

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.build.tasks import copy as copy_tasks
from ketch.errors import InvalidParameter, NotFound
from ketch.layers.modes import mode_change
from layers.chrooted import run_in_root

pytestmark = pytest.mark.root


@pytest.fixture
def root(tmp_path):
    path = tmp_path / "root"
    (path / "etc/deep").mkdir(parents=True)
    (path / "etc/hosts").write_bytes(b"hosts")
    (path / "lib").symlink_to("/etc/deep")
    return path


@pytest.fixture
def context(tmp_path):
    path = tmp_path / "context"
    (path / "src/sub").mkdir(parents=True)
    (path / "src/main.c").write_bytes(b"main")
    (path / "src/sub/util.c").write_bytes(b"util")
    (path / "a.txt").write_bytes(b"a")
    (path / "b.txt").write_bytes(b"b")
    (path / "escape").symlink_to("../../../../../../../../etc/passwd")
    (path / "to-src").symlink_to("src")
    os.chown(path / "a.txt", 1000, 1000)
    with tarfile.open(path / "bundle.tgz", "w:gz") as tar:
        info = tarfile.TarInfo("inside/file")
        info.uid = 55
        tar.addfile(info)
    return path


@pytest.fixture
def copy(root, context):
    def run(sources: list[str], destination: str, **options):
        fd = os.open(context, os.O_RDONLY | os.O_DIRECTORY)
        try:
            args = {"sources": sources, "destination": destination, **options}
            return run_in_root(root, copy_tasks.copy, args, [fd])
        finally:
            os.close(fd)

    return run


def test_copy_destinations(copy, root):
    copy(["a.txt"], "/new/name")
    assert (root / "new/name").read_bytes() == b"a"
    copy(["a.txt"], "/dir/")
    assert (root / "dir/a.txt").read_bytes() == b"a"
    copy(["a.txt"], "/etc")
    assert (root / "etc/a.txt").exists()
    copy(["src"], "/app")
    assert (root / "app/sub/util.c").read_bytes() == b"util"
    copy(["."], "/all/")
    assert (root / "all/src/main.c").exists()
    copy(["*.txt"], "/texts/")
    assert sorted(os.listdir(root / "texts")) == ["a.txt", "b.txt"]
    copy(["src", "b.txt"], "/mixed/")
    assert sorted(os.listdir(root / "mixed")) == ["b.txt", "main.c", "sub"]
    copy(["to-src"], "/via")
    assert (root / "via/main.c").exists()
    copy(["a.txt"], "/lib/")
    assert (root / "etc/deep/a.txt").exists()


def test_copy_owner_and_mode(copy, root):
    copy(["a.txt"], "/made/by/copy/a", chown=[7, 8], chmod="600")
    info = os.stat(root / "made/by/copy/a")
    assert (info.st_uid, info.st_gid, info.st_mode & 0o777) == (7, 8, 0o600)
    assert os.stat(root / "made/by").st_uid == 7
    copy(["a.txt"], "/kept")
    assert os.stat(root / "kept").st_uid == 1000


def test_copy_misses_and_escapes(copy, root):
    with pytest.raises(NotFound, match="stat nofile: file does not exist"):
        copy(["nofile"], "/x")
    copy(["*.nope"], "/x")
    assert not (root / "x").exists()
    with pytest.raises(NotFound):
        copy(["escape"], "/x")
    with pytest.raises(NotFound):
        copy(["../../../etc/passwd"], "/x")
    with pytest.raises(InvalidParameter, match="end the destination with /"):
        copy(["a.txt", "b.txt"], "/several")
    with pytest.raises(InvalidParameter, match="not a directory"):
        copy(["a.txt"], "/etc/hosts/below")


def test_add_unpacks_archives_and_copy_does_not(copy, root):
    copy(["bundle.tgz"], "/copied/")
    assert (root / "copied/bundle.tgz").exists()
    copy(["bundle.tgz", "a.txt"], "/added/", extract=True, chown=[0, 0])
    assert os.stat(root / "added/inside/file").st_uid == 55
    assert (root / "added/a.txt").exists()
    copy(["bundle.tgz"], "/owned/", extract=True, chown=[7, 8], archive_chown=[7, 8])
    owners = [
        os.stat(root / path).st_uid for path in ("owned", "owned/inside", "owned/inside/file")
    ]
    assert owners == [7, 0, 7]  # the archive says nothing of the directory


def test_hard_links_stay(copy, root, context):
    os.link(context / "a.txt", context / "src/hard-a")
    os.link(context / "a.txt", context / "src/hard-b")
    copy(["/src"], "/out")
    assert (root / "out/sub/util.c").read_bytes() == b"util"
    assert os.stat(root / "out/hard-a").st_ino == os.stat(root / "out/hard-b").st_ino


def test_checksum_knows_content_and_mode_but_no_time(context):
    def digest(*names: str) -> str:
        fd = os.open(context, os.O_RDONLY | os.O_DIRECTORY)
        try:
            return copy_tasks.checksum({"sources": list(names)}, [fd])["digest"]
        finally:
            os.close(fd)

    first = digest("src", "a.txt")
    os.utime(context / "a.txt", (1, 1))
    os.chown(context / "a.txt", 0, 0)
    assert digest("src", "a.txt") == first
    os.chmod(context / "src/main.c", 0o755)
    second = digest("src", "a.txt")
    (context / "src/sub/util.c").write_bytes(b"Util")
    assert len({first, second, digest("src", "a.txt")}) == 3


def names(path):
    """Every path below a directory."""
    found = [os.path.join(folder, name) for folder, d, f in os.walk(path) for name in d + f]
    return sorted(os.path.relpath(name, path) for name in found)


EXCLUDES = [
    (["src"], ["sub"], ["main.c"]),
    (["src"], ["**/*.c"], ["sub"]),
    (["src"], ["*.c"], ["sub", "sub/util.c"]),
    (["src"], ["sub", "!sub/util.c"], ["main.c", "sub", "sub/util.c"]),
    (["src"], ["*", "!main.c"], ["main.c"]),
    (["a.txt", "b.txt"], ["b*"], ["a.txt"]),
    (["*.txt"], ["a.txt"], ["b.txt"]),
]


@pytest.mark.parametrize(("sources", "excludes", "expected"), EXCLUDES)
def test_excluded_sources_are_left_out(copy, root, sources, excludes, expected):
    copy(sources, "/out/", excludes=excludes)
    assert names(root / "out") == expected


def test_a_link_to_something_excluded_becomes_a_file(copy, root, context):
    os.link(context / "src/main.c", context / "src/second")
    copy(["src"], "/out/", excludes=["main.c"])
    assert (root / "out/second").read_bytes() == b"main"


PARENTS = [
    (["src/main.c"], ["src", "src/main.c"]),
    (["./src/sub/util.c", "a.txt"], ["a.txt", "src", "src/sub", "src/sub/util.c"]),
    (["src/./sub/util.c"], ["sub", "sub/util.c"]),
    (["**/*.c"], ["src", "src/main.c", "src/sub", "src/sub/util.c"]),
    (["src/./**/util.c"], ["sub", "sub/util.c"]),
    (["src/sub"], ["src", "src/sub", "src/sub/util.c"]),
]


@pytest.mark.parametrize(("sources", "expected"), PARENTS)
def test_sources_with_their_parents(copy, root, sources, expected):
    copy(sources, "/out/", parents=True)
    assert names(root / "out") == expected


def test_parents_keep_their_modes_and_never_leave_the_context(copy, root, context):
    os.chmod(context / "src", 0o711)
    copy(["src/main.c"], "/out/", parents=True)
    assert stat.S_IMODE(os.stat(root / "out/src").st_mode) == 0o711
    with pytest.raises(NotFound):
        copy(["escape"], "/out/", parents=True)


MODES = [
    (0o100644, "755", 0o755),
    (0o100644, "u+x", 0o744),
    (0o100777, "go-w", 0o755),
    (0o100600, "u=rwX,go=rX", 0o644),
    (0o100700, "u=rwX,go=rX", 0o755),
    (0o040600, "a=rX", 0o555),
    (0o100755, "u+s,g+s", 0o6755),
    (0o041777, "-t", 0o777),
    (0o100644, "=", 0),
]


@pytest.mark.parametrize(("before", "text", "after"), MODES)
def test_modes(before, text, after):
    assert mode_change(text)(before) == after


@given(st.text(alphabet="ugoarwxXst+-=,07 ", max_size=12), st.integers(0, 0o7777))
def test_any_text_is_a_change_or_refused(text, mode):
    try:
        change = mode_change(text)
    except InvalidParameter:
        return
    assert 0 <= change(stat.S_IFREG | mode) <= 0o7777
