"""What two layers that should be the same differ in."""

from __future__ import annotations

import io
import tarfile
from typing import Any

import pytest

from ketch.engine.builder.outcome.verify import _differences


class Layers:
    """Stands for a snapshotter: layers are lists of members."""

    def __init__(self, **layers: list[tarfile.TarInfo]) -> None:
        self._layers = layers

    def open_tar(self, layer: str) -> io.BytesIO:
        out = io.BytesIO()
        with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
            for member in self._layers[layer]:
                archive.addfile(member, io.BytesIO(b"x" * member.size))
        return io.BytesIO(out.getvalue())


def member(name: str = "f", **attributes: Any) -> tarfile.TarInfo:
    found = tarfile.TarInfo(name)
    for key, value in attributes.items():
        setattr(found, key, value)
    return found


@pytest.mark.parametrize(
    ("change", "said"),
    [
        ({"size": 1}, ["f has another content"]),
        ({"mode": 0o4755}, ["f has another mode"]),
        ({"uid": 1, "mtime": 7}, ["f has another owner, time"]),
        ({"type": tarfile.SYMTYPE, "linkname": "t"}, ["f has another kind or target"]),
        (
            {"pax_headers": {"SCHILY.xattr.user.a": "1"}},
            ["f has another extended attribute"],
        ),
        ({}, ["the order of files"]),
    ],
)
def test_what_is_different(change: dict[str, Any], said: list[str]) -> None:
    layers: Any = Layers(a=[member()], b=[member(**change)])
    assert _differences(layers, "a", "b") == said


def test_devices_are_told_apart() -> None:
    devices = [member(type=tarfile.CHRTYPE, devmajor=1, devminor=n) for n in (3, 5)]
    layers: Any = Layers(a=devices[:1], b=devices[1:])
    assert _differences(layers, "a", "b") == ["f has another kind or target"]


def test_files_of_one_only_and_no_more_than_ten() -> None:
    layers: Any = Layers(a=[], b=[member(f"f{n:02}") for n in range(12)])
    found = _differences(layers, "a", "b")
    assert found[0] == "f00 is in one of them only"
    assert found[10:] == ["and 2 more"]
    assert _differences(layers, "", "b") == ["one of them changed nothing"]
