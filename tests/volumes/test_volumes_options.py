"""Options of the local driver."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from ketch.errors import KetchError
from ketch.volumes.options import FileSystem, parse


def test_a_bound_directory() -> None:
    assert parse({}).bound == ""
    assert parse({"type": "none", "o": "bind", "device": "/srv//data/"}).bound == "/srv/data"
    assert parse({"o": "rw,rbind", "device": "/"}).bound == "/"


@pytest.mark.parametrize(
    ("options", "wanted"),
    [
        (
            {"type": "tmpfs", "device": "tmpfs", "o": "size=1m,uid=5,noexec"},
            FileSystem(type="tmpfs", device="tmpfs", flags=8, data="size=1m,uid=5"),
        ),
        (
            {"type": "nfs", "device": ":/x", "o": "addr=host.example,rw,nfsvers=4"},
            FileSystem(
                type="nfs",
                device=":/x",
                data="addr=host.example,nfsvers=4",
                address="host.example",
            ),
        ),
        (
            {"type": "none", "o": "bind,ro", "device": "/a"},
            FileSystem(type="none", device="/a", flags=4097),
        ),
        (
            {"type": "ext4", "device": "/dev/sdz1", "o": "ro,rw,nosuid"},
            FileSystem(type="ext4", device="/dev/sdz1", flags=2),
        ),
    ],
)
def test_file_systems(options: dict[str, str], wanted: FileSystem) -> None:
    assert parse(options).mounted == wanted


@pytest.mark.parametrize(
    ("text", "size"),
    [("1", 1), ("10M", 10 << 20), ("1.5g", 3 << 29), ("2KiB", 2048), ("1 tb", 1 << 40)],
)
def test_sizes(text: str, size: int) -> None:
    assert parse({"size": text}).size == size


@pytest.mark.parametrize(
    ("options", "words"),
    [
        ({"o": "bind"}, 'missing required option: "device"'),
        ({"type": "tmpfs"}, 'missing required option: "device"'),
        ({"device": "/dev/sda"}, 'missing required option: "type"'),
        ({"o": "bind", "device": "srv"}, "no absolute path"),
        ({"o": "bind", "device": "/a", "sise": "1"}, 'invalid option: "sise"'),
        ({"type": "ext4", "o": "bind", "device": "/a"}, "contradicts"),
        ({"type": "none", "device": "/a"}, "no file system"),
        ({"o": "bind,size=1m", "device": "/a"}, "size=1m"),
        ({"type": "nfs", "device": ":/x"}, "addr=HOST"),
        ({"type": "ext4\0", "device": "/a"}, "no place"),
        ({"size": "many"}, "invalid size: 'many'"),
        ({"size": "0"}, "invalid size"),
        ({"size": "9999999999t"}, "invalid size"),
        ({"size": "1m", "type": "tmpfs", "device": "tmpfs"}, "size of its own"),
        ({"type": "tmpfs", "device": "x", "o": "a" * 5000}, "longer than"),
    ],
)
def test_refusals_name_what_is_wrong(options: dict[str, str], words: str) -> None:
    with pytest.raises(KetchError, match=words):
        parse(options)


@given(st.dictionaries(st.sampled_from(["type", "o", "device", "size", "x"]), st.text(max_size=12)))
def test_anything_else_is_refused(options: dict[str, str]) -> None:
    try:
        found = parse(options)
    except KetchError:
        return
    assert found.bound == "" or (found.bound.startswith("/") and "\0" not in found.bound)
    assert not (found.bound and found.mounted)
