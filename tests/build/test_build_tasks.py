"""The builder's worker functions, called directly."""

from __future__ import annotations

import hashlib
import io
import os
import tarfile
from base64 import b64decode
from collections.abc import Iterator
from pathlib import Path

import pytest

from ketch.build.tasks import context_image, copy, trees
from ketch.errors import DataCorrupt, InvalidParameter, KetchError, NotFound


@pytest.fixture
def root(tmp_path: Path) -> Iterator[int]:
    (tmp_path / "root").mkdir()
    fd = os.open(tmp_path / "root", os.O_RDONLY | os.O_DIRECTORY)
    yield fd
    os.close(fd)


def receive(
    root: int,
    files: dict[str, bytes],
    dockerfile: str = "Dockerfile",
    mode: str = "w",
    links: dict[str, str] | None = None,
) -> bytes:
    """Unpack a context of these files and symbolic links; the Dockerfile's bytes."""
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode=mode) as tar:  # type: ignore[call-overload]
        for name, data in files.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, io.BytesIO(data))
        for name, target in (links or {}).items():
            info = tarfile.TarInfo(name)
            info.type, info.linkname = tarfile.SYMTYPE, target
            tar.addfile(info)
    return receive_raw(root, out.getvalue(), dockerfile)


def receive_raw(root: int, data: bytes, dockerfile: str = "Dockerfile") -> bytes:
    fd, image = os.memfd_create("context"), os.memfd_create("image")
    try:
        os.write(fd, data)
        os.lseek(fd, 0, os.SEEK_SET)
        found, _ = context_image.receive(fd, image, dockerfile)
        context_image.unpack(image, found["tar_size"], b64decode(found["ignore"]), root)
        return b64decode(found["dockerfile"])
    finally:
        os.close(fd)
        os.close(image)


def tree(root: int) -> list[str]:
    """All paths below the root."""
    found = []
    for folder, directories, files, _ in os.fwalk(".", dir_fd=root):
        found += [os.path.relpath(f"{folder}/{name}", ".") for name in (*directories, *files)]
    return sorted(found)


@pytest.mark.parametrize("mode", ["w", "w:gz", "w:bz2", "w:xz"])
def test_contexts_may_be_compressed(root: int, mode: str) -> None:
    assert receive(root, {"Dockerfile": b"FROM a", "d/f": b""}, mode=mode) == b"FROM a"
    assert tree(root) == ["Dockerfile", "d", "d/f"]


def test_a_lower_case_dockerfile_is_found_too(root: int) -> None:
    assert receive(root, {"dockerfile": b"FROM a"}) == b"FROM a"


def test_a_dockerfile_elsewhere(root: int) -> None:
    assert receive(root, {"x/Y": b"FROM a"}, "x/Y") == b"FROM a"


def test_no_dockerfile(root: int) -> None:
    with pytest.raises(NotFound, match="Cannot locate specified Dockerfile: Missing"):
        receive(root, {"Dockerfile": b"FROM a"}, "Missing")


@pytest.mark.parametrize(
    ("rules", "left"),
    [
        ("", ["d", "d/a.o", "d/b", "e"]),
        ("d", ["e"]),
        ("d/*\n!d/b", ["d", "d/b", "e"]),
        ("d\n!d/b", ["d", "d/b", "e"]),
        ("**/*.o", ["d", "d/b", "e"]),
        ("*\n!e", ["e"]),
        ("e\nd/b\n!e", ["d", "d/a.o", "e"]),
    ],
)
def test_ignored_files_are_gone(root: int, rules: str, left: list[str]) -> None:
    files = {"Dockerfile": b"FROM a", "d/a.o": b"", "d/b": b"", "e": b""}
    receive(root, {**files, ".dockerignore": rules.encode() + b"\n.dockerignore\nDockerfile\n"})
    assert tree(root) == left


def test_a_dockerfile_of_its_own_has_rules_of_its_own(root: int) -> None:
    files = {"D": b"FROM a", "D.dockerignore": b"x", ".dockerignore": b"y", "x": b"", "y": b""}
    receive(root, files, "D")
    assert "y" in tree(root)
    assert "x" not in tree(root)


def test_an_excluded_link_to_a_directory(root: int, tmp_path: Path) -> None:
    (tmp_path / "outside").mkdir()
    files = {"Dockerfile": b"FROM a", ".dockerignore": b"l"}
    receive(root, files, links={"l": str(tmp_path / "outside"), "m": "l"})
    assert "l" not in tree(root)
    assert "m" in tree(root)
    assert (tmp_path / "outside").exists()


def test_a_dockerfile_that_leads_out_is_not_read(root: int, tmp_path: Path) -> None:
    (tmp_path / "secret").write_text("FROM secret")
    with pytest.raises(NotFound):
        receive(root, {"x": b""}, links={"Dockerfile": str(tmp_path / "secret")})
    with pytest.raises(NotFound):
        receive(root, {"x": b""}, links={"Dockerfile": "../" * 20 + str(tmp_path / "secret")})


@pytest.mark.parametrize("target", ["d/real", "/d/real", "./d/../d/real"])
def test_a_dockerfile_may_be_a_link_inside(root: int, target: str) -> None:
    assert receive(root, {"d/real": b"FROM a"}, links={"Dockerfile": target}) == b"FROM a"


def test_names_of_whiteouts_are_names_like_others(root: int) -> None:
    files = {"Dockerfile": b"FROM a", ".wh.x": b"", "d/.wh..wh..opq": b"", "d/.wh.y": b"", "x": b""}
    receive(root, files)
    assert tree(root) == sorted([*files, "d"])


@pytest.mark.parametrize("kind", [tarfile.FIFOTYPE, tarfile.DIRTYPE])
def test_a_dockerfile_that_is_no_file(root: int, kind: bytes) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.type = kind
        tar.addfile(info)
    with pytest.raises(InvalidParameter, match="not a regular file"):
        receive_raw(root, out.getvalue())


@pytest.mark.parametrize("data", [b"x" * 5000, b"\x1f\x8b\x08broken", b"PK\x03\x04" * 200])
def test_what_is_no_archive(root: int, data: bytes) -> None:
    with pytest.raises(KetchError):
        receive_raw(root, data)


def test_a_cut_off_context(root: int) -> None:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("Dockerfile")
        info.size = 4000
        tar.addfile(info, io.BytesIO(b"a" * 4000))
    with pytest.raises(DataCorrupt):
        receive_raw(root, out.getvalue()[:2000])


def test_checksum_tells_kinds_apart(root: int) -> None:
    receive(root, {"Dockerfile": b"", "d/a": b"1", "d/b": b"1"})

    def digest(*sources: str) -> str:
        return str(copy.checksum({"sources": list(sources)}, [root])["digest"])

    assert digest("d").startswith("dir:")
    assert digest("d/a").startswith("file:")
    assert digest("d/a", "d/b").startswith("multi:")
    assert digest("d/*").startswith("multi:")
    before = digest("d")
    os.utime("d/a", (1, 1), dir_fd=root)
    assert digest("d") == before
    os.chmod("d/a", 0o600, dir_fd=root)
    assert digest("d") != before


def test_checksum_of_nothing(root: int) -> None:
    with pytest.raises(NotFound, match="stat x: file does not exist"):
        copy.checksum({"sources": ["x"]}, [root])
    nothing = copy.checksum({"sources": ["x*"]}, [root])["digest"]
    assert nothing == f"multi:{hashlib.sha256().hexdigest()}"


def test_owners_count_for_a_checksum_when_they_are_kept(root: int) -> None:
    os.mkdir("owned", dir_fd=root)
    asked = {"sources": ["owned"]}
    first, kept = (copy.checksum({**asked, "owners": w}, [root]) for w in (False, True))
    os.chown("owned", 5, 6, dir_fd=root)
    assert copy.checksum(asked, [root]) == first
    assert copy.checksum({**asked, "owners": True}, [root]) != kept


def test_exists_does_not_follow(root: int) -> None:
    os.symlink("/nowhere", "#", dir_fd=root)
    assert trees.exists({"path": "#"}, [root]) == {"exists": True}
    assert trees.exists({"path": "##"}, [root]) == {"exists": False}
