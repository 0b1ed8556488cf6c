"""``ketch cp`` beside ``docker cp``: the same trees from the same commands."""

from __future__ import annotations

import io
import os
import subprocess
import tarfile
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketch_program import ketch
from e2e.ketchd_process import Ketchd
from ketch.cli import cp_local
from ketch.cli.flags import Failure

pytestmark = pytest.mark.root
INSIDE = (
    "mkdir -p /src/sub /empty && echo one >/src/one && echo two >/src/sub/two && "
    "ln -s one /src/link && ln -s /src /tolink && ln -s /src/sub /src/sublink && "
    "chown -R 1000:1000 /src && chmod 4755 /src/one && chmod 700 /src/sub"
)


@pytest.fixture(scope="module")
def box(ketchd: Ketchd) -> Iterator[str]:
    """A container with a tree in it."""
    name = "cp-box"
    ketchd.docker("run", "-d", "--name", name, "busybox", "sh", "-c", f"{INSIDE}; sleep 600")
    ketchd.docker("exec", name, "sh", "-c", "until [ -e /src/sublink ]; do :; done")
    yield name
    ketchd.docker("rm", "-f", name)


def tree(root: Path) -> list[tuple[object, ...]]:
    """Everything below a folder: kind, mode, owner, content."""
    found = []
    for path in sorted(root.rglob("*")):
        stat = path.lstat()
        content = (
            os.readlink(path) if path.is_symlink() else path.read_bytes() if path.is_file() else ""
        )
        found.append((str(path.relative_to(root)), oct(stat.st_mode), stat.st_uid, content))
    return found


OUT = [
    ("{}:/src", "new"),
    ("{}:/src", "there"),
    ("{}:/src/.", "there"),
    ("{}:/src/.", "new"),
    ("{}:/src/one", "new"),
    ("{}:/src/one", "there"),
    ("{}:/src/one", "file"),
    ("{}:/src/one", "there/"),
    ("{}:/src/one", "new/"),
    ("{}:/src", "file"),
    ("{}:/src/link", "new"),
    ("{}:/src/link", "there"),
    ("-L {}:/src/link", "new"),
    ("-L {}:/src/link", "there"),
    ("-L {}:/tolink", "there"),
    ("{}:/tolink/", "there"),
    ("{}:/empty", "there"),
    ("{}:/none", "there"),
    ("{}:/src/one", "no/such/folder"),
    ("{}:src/one", "new"),
]


@pytest.mark.parametrize(("source", "target"), OUT)
def test_out(ketchd: Ketchd, box: str, tmp_path: Path, source: str, target: str) -> None:
    results = []
    for client in ("docker", "ketch"):
        root = tmp_path / client
        (root / "there" / "src").mkdir(parents=True)
        (root / "there" / "src" / "kept").write_text("kept")
        (root / "there").chmod(0o711)  # neither the source's mode nor what a umask makes
        (root / "file").write_text("old and longer")
        words = ["cp", *source.format(box).split(), f"{root}/{target}"]
        run = ketchd.docker if client == "docker" else lambda *w, code: ketch(ketchd, *w, code=code)
        done = run(*words, code=None)
        results.append((done.returncode, tree(root)))
    assert results[0] == results[1]


IN = [
    ("tree", "/t{}"),
    ("tree", "/tmp"),
    ("tree/.", "/tmp"),
    ("tree/.", "/t{}"),
    ("tree/one", "/t{}"),
    ("tree/one", "/t{}/"),
    ("tree/one", "/tmp/"),
    ("tree/one", "/tolink"),
    ("tree", "/src/one"),
    ("tree/link", "/tmp/"),
    ("-L tree/link", "/tmp/"),
    ("-a tree", "/t{}"),
    ("none", "/tmp"),
    ("tree/one", "/no/such/folder"),
]


@pytest.mark.parametrize(("source", "target"), IN)
def test_in(ketchd: Ketchd, tmp_path: Path, source: str, target: str) -> None:
    root = tmp_path / "tree"
    (root / "sub").mkdir(parents=True)
    (root / "one").write_text("one")
    (root / "sub" / "two").write_text("two")
    (root / "link").symlink_to("one")
    os.chown(root / "one", 1234, 1234)
    *flags, name = source.split()
    listing = "cd / && find tmp src t* -exec stat -c '%n %f %u %s' {} + 2>/dev/null | sort"
    results = []
    for client in ("docker", "ketch"):
        box = f"cp-in-{client}"
        ketchd.docker("run", "-d", "--name", box, "busybox", "sh", "-c", f"{INSIDE}; sleep 600")
        ketchd.docker("exec", box, "sh", "-c", "until [ -e /src/sublink ]; do :; done")
        words = ["cp", *flags, f"{tmp_path}/{name}", f"{box}:{target.format('x')}"]
        run = ketchd.docker if client == "docker" else lambda *w, code: ketch(ketchd, *w, code=code)
        done = run(*words, code=None)
        results.append((done.returncode, ketchd.out("exec", box, "sh", "-c", listing).splitlines()))
        ketchd.docker("rm", "-f", box)
    assert results[0] == results[1]


def test_streams(ketchd: Ketchd, box: str, tmp_path: Path) -> None:
    archive = ketch(ketchd, "cp", f"{box}:/src", "-").stdout
    with tarfile.open(fileobj=io.BytesIO(archive)) as tar:
        assert "src/sub/two" in tar.getnames()
    ketchd.docker("exec", box, "mkdir", "/into")
    ketch(ketchd, "cp", "-", f"{box}:/into", input=archive)
    assert ketchd.out("exec", box, "cat", "/into/src/sub/two") == "two"
    done = ketch(ketchd, "cp", "-", f"{box}:/src/one", input=archive, code=1)
    assert "must be a directory" in done.stderr.decode()


def test_owners_are_kept_when_asked(ketchd: Ketchd, box: str, tmp_path: Path) -> None:
    ketch(ketchd, "cp", f"{box}:/src", str(tmp_path / "mine"))
    ketch(ketchd, "cp", "-a", f"{box}:/src", str(tmp_path / "theirs"))
    assert (tmp_path / "mine" / "one").stat().st_uid == os.getuid()
    assert (tmp_path / "theirs" / "one").stat().st_uid == 1000


def test_a_large_file_does_not_fill_the_memory(ketchd: Ketchd, box: str, tmp_path: Path) -> None:
    big = tmp_path / "big"
    with open(big, "wb") as file:
        file.truncate(150 << 20)
    program = (  # VmHWM: ru_maxrss would count what the parent had when it forked
        "import sys; from ketch.cli.main import main; code = main(sys.argv[1:]);"
        "lines = open('/proc/self/status').read().splitlines();"
        "print(next(line for line in lines if line[:5] == 'VmHWM').split()[1]); sys.exit(code)"
    )
    import sys

    env = {**os.environ, "KETCH_HOST": f"unix://{ketchd.socket}"}
    for words in ((str(big), f"{box}:/big"), (f"{box}:/big", str(tmp_path / "back"))):
        done = subprocess.run(
            [sys.executable, "-c", program, "cp", *words], env=env, capture_output=True, check=True
        )
        assert int(done.stdout) < 80_000
    assert (tmp_path / "back").stat().st_size == 150 << 20
    ketchd.docker("exec", box, "rm", "/big")


def hostile(entries: list[tarfile.TarInfo]) -> list[bytes]:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for entry in entries:
            tar.addfile(entry, io.BytesIO(b"x" * entry.size) if entry.size else None)
    return [out.getvalue()]


def entry(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
    made = tarfile.TarInfo(name)
    made.type, made.linkname = kind, link
    made.mode = 0o755
    made.size = 1 if kind == tarfile.REGTYPE else 0
    return made


@pytest.mark.parametrize(
    "entries",
    [
        [entry("root/../../escaped")],
        [entry("root", tarfile.DIRTYPE), entry("root/a", tarfile.SYMTYPE, "/"),
         entry("root/a/tmp/ketch-escaped")],
        [entry("root", tarfile.DIRTYPE), entry("root/a", tarfile.SYMTYPE, "../.."),
         entry("root/a/escaped")],
        [entry("root/hard", tarfile.LNKTYPE, "../../victim")],
        [entry("root/hard", tarfile.LNKTYPE, "x/../../../victim")],
    ],
)  # fmt: skip
def test_archives_that_reach_out_are_refused(
    tmp_path: Path, entries: list[tarfile.TarInfo]
) -> None:
    (tmp_path / "victim").write_text("safe")
    target = tmp_path / "deep" / "target"
    target.mkdir(parents=True)
    before = tree(tmp_path / "deep" / "..")
    with pytest.raises(Failure, match="outside of the destination"):
        cp_local.extract(hostile(entries), cp_local.Plan(str(target), "root"), keep_owner=False)
    assert not Path("/tmp/ketch-escaped").exists()
    assert not (tmp_path / "escaped").exists()
    assert (tmp_path / "victim").read_text() == "safe"
    assert [found for found in tree(tmp_path / "deep" / "..") if "target" not in str(found[0])] == [
        found for found in before if "target" not in str(found[0])
    ]


def test_what_is_in_the_way_is_replaced_not_followed(tmp_path: Path) -> None:
    victim = tmp_path / "victim"
    victim.write_text("safe")
    (tmp_path / "target").mkdir()
    (tmp_path / "target" / "file").symlink_to(victim)
    plan = cp_local.plan("/file", False, str(tmp_path / "target"))
    cp_local.extract(hostile([entry("file")]), plan, keep_owner=False)
    assert victim.read_text() == "safe"
    assert (tmp_path / "target" / "file").read_text() == "x"
    assert not (tmp_path / "target" / "file").is_symlink()
