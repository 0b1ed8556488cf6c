"""What ``ketch build --output`` takes; an engine that lies changes nothing outside of it."""

from __future__ import annotations

import io
import os
import stat
import tarfile
from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest

from ketch.cli.build_flags import FLAGS
from ketch.cli.build_outputs import Fetching, Output, outputs
from ketch.cli.flags import Failure, parse

DIRECTORY, LINK, HARD = tarfile.DIRTYPE, tarfile.SYMTYPE, tarfile.LNKTYPE
Entry = tuple[str, bytes, str]


def archive(entries: list[Entry]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, kind, text in entries:
            entry = tarfile.TarInfo(name)
            entry.type, entry.mode, entry.mtime = kind, 0o777, 1
            data = text.encode() if kind == tarfile.REGTYPE else b""
            entry.linkname = "" if data else text
            entry.size = len(data)
            tar.addfile(entry, io.BytesIO(data))
    return out.getvalue()


def fetch(data: bytes, dest: Path, *, layout: bool = False, **attributes: str) -> None:
    """As a build with one output does it."""
    response = SimpleNamespace(pieces=lambda: iter([data]))
    client: Any = SimpleNamespace(stream=lambda method, path: response)
    Fetching(client, "token", [Output("local", attributes, str(dest), layout=layout)]).finish()


@pytest.fixture
def victim(tmp_path: Path) -> Path:
    victim = tmp_path / "victim"
    (victim / "inner").mkdir(parents=True)
    (victim / "file").write_text("safe")
    for path in (victim, victim / "inner", victim / "file"):
        path.chmod(0o700)
    return victim


def state(victim: Path) -> list[tuple[str, int, int, int]]:
    return [
        (path.name, info.st_mode, info.st_uid, info.st_mtime_ns)
        for path in sorted([victim, *victim.rglob("*")])
        for info in [path.lstat()]
    ]


@pytest.mark.parametrize(
    ("entries", "refused"),
    [
        # A second name of a link: setting its mode would set that of what it leads to.
        ([("l", LINK, "{victim}/file"), ("h", HARD, "l")], False),
        # A directory's mode is set at the end, when the way to it is another one.
        ([("real/inner", DIRECTORY, ""), ("l", LINK, "real"), ("l/inner", DIRECTORY, ""),
          ("l", LINK, "{victim}")], True),
        ([("l", LINK, "{victim}"), ("l/new", tarfile.REGTYPE, "x")], True),
        ([("l", LINK, "{victim}"), ("h", HARD, "l/file")], True),
    ],
)  # fmt: skip
def test_files_stay_below_the_destination(
    tmp_path: Path, victim: Path, entries: list[Entry], refused: bool
) -> None:
    before = state(victim)
    data = archive([(name, kind, text.format(victim=victim)) for name, kind, text in entries])
    if refused:
        with pytest.raises(Failure, match="outside of the destination"):
            fetch(data, tmp_path / "dest")
    else:
        fetch(data, tmp_path / "dest")
        assert os.readlink(tmp_path / "dest/h") == f"{victim}/file"
    assert state(victim) == before


def test_names_of_one_file_stay_one(tmp_path: Path) -> None:
    fetch(archive([("a", tarfile.REGTYPE, "x"), ("b/c", HARD, "a")]), tmp_path / "dest")
    assert (tmp_path / "dest/a").samefile(tmp_path / "dest/b/c")
    assert stat.S_IMODE((tmp_path / "dest/a").stat().st_mode) == 0o777


@pytest.mark.parametrize("name", ["index.json.new", "blobs/sha256"])
def test_a_layout_has_no_links(tmp_path: Path, victim: Path, name: str) -> None:
    """Its index is written, and what no name needs is deleted, after the engine's last word."""
    dest = tmp_path / "dest"
    dest.mkdir()
    (dest / "index.json").write_text('{"manifests": [{"digest": "sha256:0"}]}')
    before = state(victim)
    target = victim if name.startswith("blobs") else victim / "file"
    data = archive([(name, LINK, str(target)), ("index.json", tarfile.REGTYPE, "{}")])
    with pytest.raises(Failure, match="no file"):
        fetch(data, dest, layout=True, reset="true")
    assert state(victim) == before
    assert (victim / "file").read_text() == "safe"


@pytest.mark.parametrize(
    "data",
    [b"no archive", b"", archive([("a", tarfile.REGTYPE, "x" * 999)])[:700],
     archive([("a", HARD, "missing")])],
    ids=["text", "empty", "short", "dangling"],
)  # fmt: skip
def test_what_is_no_archive_fails_the_build(tmp_path: Path, data: bytes) -> None:
    with pytest.raises(Failure, match="dest: "):
        fetch(data, tmp_path / "dest")


@pytest.mark.parametrize(
    ("text", "attributes"),
    [
        ("a.b=c", {"annotation.a.b": "c"}),
        ("a.b:x=c", {"annotation.a.b:x": "c"}),
        ("index:a=b", {"annotation-index.a": "b"}),
        ("index,manifest[linux/arm64]:a=b", {
            "annotation-index.a": "b", "annotation-manifest[linux/arm64].a": "b"
        }),
    ],
)  # fmt: skip
def test_annotations(text: str, attributes: dict[str, str]) -> None:
    """Of two places the names were taken for the beginning of the key."""
    (output,) = outputs(parse(FLAGS, ["--annotation", text, "."]))
    assert output.attributes == attributes


def test_an_annotation_of_a_place_that_does_not_exist() -> None:
    with pytest.raises(Failure, match="unknown annotation type 'layer'"):
        outputs(parse(FLAGS, ["--annotation", "index,layer:a=b", "."]))
