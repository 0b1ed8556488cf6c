"""COPY from a context in memory comes to what COPY from the mounted context comes to."""

from __future__ import annotations

import io
import os
import random
import stat
import tarfile
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest

from ketch.build.tasks import context_image
from ketch.build.tasks import copy as copy_tasks
from ketch.build.tasks.context_copy import ContextsInMemory
from ketch.errors import InvalidParameter, KetchError
from ketch.linux import mountapi
from ketch.snapshots import tasks as snapshot_tasks
from ketch.snapshots.erofs import ErofsSnapshotter
from layers.chrooted import run_in_root

pytestmark = pytest.mark.root
IMAGE = "context-0.erofs"
EPOCH = 1_700_000_000  # seconds; the root of a context has the time of now, which both set back
Members = list[tuple[tarfile.TarInfo, bytes]]


def member(name: str, data: bytes = b"", kind: bytes = tarfile.REGTYPE, **facts: Any) -> Any:
    info = tarfile.TarInfo(name)
    info.type, info.size = kind, len(data)
    info.mode = facts.pop("mode", 0o755 if kind == tarfile.DIRTYPE else 0o644)
    for key, value in facts.items():
        setattr(info, key, value)
    return info, data


def directory(name: str, **facts: Any) -> Any:
    return member(name, kind=tarfile.DIRTYPE, **facts)


PLAIN: Members = [
    directory("src", mode=0o750, uid=3, gid=4, mtime=77),
    directory("src/sub/empty"),
    member("src/main.c", b"main" * 5000, mtime=1234567890),
    member("src/sub/util.c", b"u" * 512, mode=0o4755, uid=70000),
    member("src/sub/hard", kind=tarfile.LNKTYPE, linkname="src/main.c"),
    member("src/l", kind=tarfile.SYMTYPE, linkname="main.c", mode=0o777),
    member("src/hosts", b"other hosts"),
    directory("src/deep", mode=0o700),
    member("src/" + "n" * 120, b"a long name", mtime=12.5, pax_headers={"mtime": "12.500000001"}),
    member("src/pipe", kind=tarfile.FIFOTYPE),
    member("src/null", kind=tarfile.CHRTYPE, devmajor=1, devminor=3),
    member("a.txt", b"a", uid=1000, gid=1000),
    member("b.txt"),
    member("B.txt", b"x" * 3_000_000),
    member("\udcff.txt", b"not utf-8"),
    member(".wh.odd", b"no whiteout here"),
    member("link", kind=tarfile.SYMTYPE, linkname="src"),
    member("dangling.txt/x", b""),
    member("Dockerfile", b"FROM a"),
]


class Both:
    """One context, in memory and mounted, above one base."""

    def __init__(self, tmp_path: Path, members: Members, ignore: bytes = b"") -> None:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as tar:
            for info, data in [*members, member(".dockerignore", ignore)]:
                tar.addfile(info, io.BytesIO(data))
        self.path = tmp_path
        self.base = tmp_path / "base"
        self.memory = ContextsInMemory()
        stream, path = os.memfd_create("context"), str(tmp_path / IMAGE)
        image = os.open(path, os.O_RDWR | os.O_CREAT, 0o600)
        os.write(stream, out.getvalue())
        os.lseek(stream, 0, os.SEEK_SET)
        _, tree = context_image.receive(stream, image, "Dockerfile")
        self.memory.keep(IMAGE, tree, image)
        os.close(stream)
        os.close(image)
        self.mounted = mountapi.new_filesystem("erofs", [("source", path)], mountapi.ATTR_RDONLY)
        self._stores = [str(tmp_path / name) for name in ("one", "two")]
        for store in self._stores:
            os.mkdir(store)
            ErofsSnapshotter(store)

    def checksums(self, args: dict[str, Any]) -> tuple[object, object]:
        """In memory (None: not there), and mounted; errors as their texts."""
        memory = answer(lambda: self.memory.checksum({**args, "image": IMAGE}))
        return memory, answer(lambda: copy_tasks.checksum(args, [self.mounted]))

    def layers(self, args: dict[str, Any]) -> tuple[object, object]:
        """Images that both ways store, None where they can't."""
        args = {"newest": EPOCH * 10**9, **args}
        return answer(lambda: self._in_memory(args)), answer(lambda: self._in_two(args))

    def _in_memory(self, args: dict[str, Any]) -> bytes | None:
        base = os.open(self.base, os.O_PATH | os.O_DIRECTORY)
        try:
            asked = {**args, "image": IMAGE, "root": self._stores[0]}
            found = self.memory.layer(asked, base)
        finally:
            os.close(base)
        assert not os.listdir(f"{self._stores[0]}/tmp")
        return self._image(0, found["diff_id"]) if found["plain"] else None

    def _in_two(self, args: dict[str, Any]) -> bytes | None:
        tar = os.open(self.path, os.O_TMPFILE | os.O_RDWR)
        try:
            if not run_in_root(self.base, copy_tasks.layer, args, [self.mounted, tar])["plain"]:
                return None
            os.lseek(tar, 0, os.SEEK_SET)
            asked = {"root": self._stores[1], "snapshotter": "erofs"}
            return self._image(1, snapshot_tasks.ingest(asked, [tar])["diff_id"])
        finally:
            os.close(tar)

    def _image(self, store: int, diff_id: Any) -> bytes:
        folder = Path(self._stores[store], "layers", diff_id[7:])
        return (folder / "layer.erofs").read_bytes() + (folder / "info.json").read_bytes()


def answer(ask: Callable[[], object]) -> object:
    try:
        return ask()
    except KetchError as error:
        return f"{type(error).__name__}: {error}"


def above(tmp_path: Path) -> Path:
    base = tmp_path / "base"
    (base / "etc/deep").mkdir(parents=True)
    (base / "etc/hosts").write_bytes(b"hosts")
    os.chmod(base / "etc", 0o750)
    os.chown(base / "etc", 7, 8)
    os.setxattr(base / "etc", "user.note", b"kept")
    (base / "lib").symlink_to("/etc/deep")
    (base / "etc/link").symlink_to("hosts")
    (base / "out").symlink_to("/../../../../tmp")
    return base


@pytest.fixture
def both(tmp_path: Path) -> Iterator[Callable[..., Both]]:
    made: list[Both] = []
    above(tmp_path)

    def make(members: Members, ignore: bytes = b"") -> Both:
        made.append(Both(tmp_path, members, ignore))
        return made[-1]

    yield make
    for one in made:
        os.close(one.mounted)


TAKEN: list[dict[str, Any]] = [
    {"sources": ["."]},
    {"sources": ["."], "excludes": ["src/sub", "*.txt", "!b.txt"]},
    {"sources": ["src"]},
    {"sources": ["src/"]},
    {"sources": ["/src/../src//sub"]},
    {"sources": ["a.txt"]},
    {"sources": ["a.txt", "src", "b.txt"]},
    {"sources": ["[a-b].txt", "s?c/*/u*"]},
    {"sources": ["*/sub"]},
    {"sources": ["none*"]},
    {"sources": ["src/*"], "excludes": ["*.c", "sub/empty"]},
    {"sources": [r"a\.txt"]},
    {"sources": ["B.txt"]},
]
PLACES: list[dict[str, Any]] = [
    {"destination": "/etc"},
    {"destination": "/etc/"},
    {"destination": "/etc/hosts"},
    {"destination": "/new/name", "chown": [5, 6], "chmod": "u=rwX,go=rX"},
    {"destination": "/", "chown": [0, 0]},
    {"destination": "/lib/"},
    {"destination": "/out/x"},
    {"destination": "/etc/link", "chmod": "700"},
    {"destination": "/add/", "extract": True},
]
LEFT_TO_THE_MOUNT: list[dict[str, Any]] = [
    {"sources": ["link"]},
    {"sources": ["link/main.c"]},
    {"sources": ["l*"]},
    {"sources": ["missing"]},
    {"sources": ["a.txt/x"]},
    {"sources": ["src"], "parents": True},
]


@pytest.mark.parametrize("ignore", [b"", b"src/sub\n*.txt\n!b.txt\n"])
def test_the_same_checksums(both: Callable[..., Both], ignore: bytes) -> None:
    context, known = both(PLAIN, ignore), 0
    for taken in TAKEN:
        for more in ({}, {"owners": True}):
            memory, mounted = context.checksums({**taken, **more})
            known += memory is not None
            assert memory in (None, mounted), taken
    assert known >= 12


def test_the_same_layers_byte_for_byte(both: Callable[..., Both]) -> None:
    context, known = both(PLAIN), 0
    for taken in TAKEN:
        for place in PLACES:
            memory, mounted = context.layers({**taken, **place})
            known += isinstance(memory, bytes)
            assert memory in (None, mounted), (taken, place)
    assert known >= 40


@pytest.mark.parametrize("taken", LEFT_TO_THE_MOUNT)
def test_what_is_left_to_the_mounted_context(
    both: Callable[..., Both], taken: dict[str, Any]
) -> None:
    context = both(PLAIN)
    assert context.checksums(taken)[0] is None
    assert context.layers({**taken, "destination": "/x/"})[0] is None


def test_attributes_are_left_to_the_mounted_context(both: Callable[..., Both]) -> None:
    noted = member("noted", b"x", pax_headers={"SCHILY.xattr.user.note": "hello"})
    context = both([*PLAIN, noted])
    for taken in ({"sources": ["."]}, {"sources": ["noted"]}):
        assert context.checksums(taken)[0] is None
        assert context.layers({**taken, "destination": "/x/"})[0] is None
    memory, mounted = context.checksums({"sources": ["src"]})
    assert memory == mounted


def test_an_unknown_image_is_left_to_others(both: Callable[..., Both]) -> None:
    context = both(PLAIN)
    assert context.memory.checksum({"image": "other", "sources": ["."]}) is None
    asked = {"image": "other", "sources": ["."], "destination": "/", "root": str(context.path)}
    assert context.memory.layer(asked, -1) == {"plain": False}


def test_malformed_patterns_are_told_alike(both: Callable[..., Both]) -> None:
    context = both(PLAIN)
    for taken in ({"sources": ["[a"]}, {"sources": ["."], "excludes": ["[a"]}):
        memory, mounted = context.checksums(taken)
        assert memory == mounted
        assert str(mounted).startswith(InvalidParameter.__name__)


def grown(seed: int) -> Members:
    """A context that chance made."""
    chance = random.Random(seed)
    folders, files = [""], []
    found: Members = []
    for number in range(chance.randrange(1, 40)):
        name = chance.choice(folders) + chance.choice("ab_éZ") + chance.choice(["", "-", ".c", "x"])
        if any(info.name == name for info, _ in found):
            continue
        facts = {
            "mode": chance.choice([0, 0o644, 0o755, 0o4711, 0o1777]),
            "mtime": chance.choice([0, 5, EPOCH, EPOCH + number, 2**33]),
            "uid": chance.choice([0, 1, 65534, 2**31]),
            "gid": chance.choice([0, 7]),
        }
        kind = chance.randrange(8)
        if kind < 2:
            found.append(directory(name, **facts))
            folders.append(f"{name}/")
        elif kind == 2 and files:
            found.append(member(name, kind=tarfile.LNKTYPE, linkname=chance.choice(files)))
        elif kind == 3:
            found.append(member(name, kind=tarfile.SYMTYPE, linkname=chance.choice(["a", "/b"])))
        else:
            size = chance.choice([0, 1, 511, 512, 513, 70_000])
            found.append(member(name, chance.randbytes(size), **facts))
            files.append(name)
    return [*found, member("Dockerfile", b"FROM a")]


@pytest.mark.parametrize("seed", range(15))
def test_contexts_that_chance_made(both: Callable[..., Both], seed: int) -> None:
    context = both(grown(seed))
    for sources in (["."], ["a*", "b*"], ["*/*"]):
        memory, mounted = context.checksums({"sources": sources, "excludes": ["**/*.c"]})
        assert memory in (None, mounted)
        for destination in ("/", "/etc/", "/new"):
            memory, mounted = context.layers({"sources": sources, "destination": destination})
            assert memory in (None, mounted)
    assert context.layers({"sources": ["."], "destination": "/w/"})[0] is not None


def test_a_base_is_never_left(both: Callable[..., Both], tmp_path: Path) -> None:
    """Links of the base on the way of names from the context: to the host they would be."""
    (tmp_path / "host").mkdir()
    (tmp_path / "host/secret").write_bytes(b"untouched")
    os.symlink(tmp_path / "host", tmp_path / "base/trap")
    context = both([directory("trap"), member("trap/secret", b"x"), member("Dockerfile", b"F")])
    memory, mounted = context.layers({"sources": ["."], "destination": "/"})
    assert memory is None
    assert mounted is None
    assert stat.S_ISLNK(os.lstat(tmp_path / "base/trap").st_mode)
