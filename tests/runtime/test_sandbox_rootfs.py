"""Roots: layers shared between containers, overlays, fallbacks of older kernels."""

from __future__ import annotations

import os
import shutil
import subprocess
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from sandbox_runner import within

from ketch.errors import InvalidParameter, StartFailed
from ketch.linux import mountapi as m
from ketch.mounts import IMAGE, SUBPATH, Mount, Rootfs
from ketch.runtime import hostmounts, rootfs
from ketch.runtime.handover import open_binds
from ketch.runtime.rootfs import LayerMounts, mount_rootfs

pytestmark = pytest.mark.root


def _layer(base: Path, name: str, files: dict[str, str]) -> Mount:
    if shutil.which("mkfs.erofs") is None:
        pytest.skip("erofs-utils is not installed")
    tree = base / name
    for path, text in files.items():
        (tree / path).parent.mkdir(parents=True, exist_ok=True)
        (tree / path).write_text(text)
    image = str(base / f"{name}.erofs")
    subprocess.run(["mkfs.erofs", image, str(tree)], check=True, capture_output=True)
    return Mount("erofs", image)


def _isolated(base: Path, body: Callable[[LayerMounts], Any]) -> Any:
    """Run with a cache of layers in a mount namespace that ends with the process."""

    def run() -> Any:
        hostmounts.leave()
        return body(LayerMounts(str(base / "layers")))

    return within(run)


def _content(fd: int, path: str) -> str:
    with open(os.open(path, os.O_RDONLY, dir_fd=fd)) as file:
        return file.read()


def test_layers_are_stacked_topmost_first_and_shared(tmp_path: Path) -> None:
    low = _layer(tmp_path, "low", {"a": "low", "b": "low"})
    top = _layer(tmp_path, "top", {"a": "top"})
    (tmp_path / "up").mkdir()
    (tmp_path / "work").mkdir()
    root = Rootfs((top, low), str(tmp_path / "up"), str(tmp_path / "work"))

    def look(cache: LayerMounts) -> list[Any]:
        fd, view = mount_rootfs(root, cache), mount_rootfs(Rootfs((top, low)), cache)
        os.close(os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=fd))
        found = [_content(fd, "a"), _content(fd, "b"), _content(view, "a"), len(cache.sources())]
        with pytest.raises(OSError, match="Read-only"):
            os.open("new", os.O_CREAT | os.O_WRONLY, dir_fd=view)
        cache.release(cache.sources())
        found.append(_content(fd, "b"))  # the overlay holds its layers itself
        found.append(cache.sources())
        return found

    assert _isolated(tmp_path, look) == ["top", "low", "top", 2, "low", []]
    assert os.listdir(tmp_path / "up") == ["new"]


def test_single_layer_without_upper(tmp_path: Path) -> None:
    layer = _layer(tmp_path, "only", {"a": "x"})

    def look(cache: LayerMounts) -> bool:
        fd = mount_rootfs(Rootfs((layer,)), cache)
        return _content(fd, "a") == "x" and bool(os.fstatvfs(fd).f_flag & os.ST_RDONLY)

    assert _isolated(tmp_path, look)


def test_directories_as_layers(tmp_path: Path) -> None:
    (tmp_path / "d").mkdir()
    (tmp_path / "d/a").write_text("dir")
    lower = Mount("bind", str(tmp_path / "d"))
    assert (
        _isolated(tmp_path, lambda cache: _content(mount_rootfs(Rootfs((lower,)), cache), "a"))
        == "dir"
    )


def test_hundreds_of_layers(tmp_path: Path) -> None:
    lowers = []
    for number in range(300):
        (tmp_path / f"l{number}").mkdir()
        (tmp_path / f"l{number}/f{number}").touch()
        lowers.append(Mount("bind", str(tmp_path / f"l{number}")))

    def count(cache: LayerMounts) -> int:
        fd = mount_rootfs(Rootfs(tuple(lowers)), cache)
        return len(os.listdir(os.open(".", os.O_RDONLY, dir_fd=fd)))

    assert _isolated(tmp_path, count) == 300


def test_kernels_without_separate_layers(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """``lowerdir+`` is refused: one string by fsconfig(2), or by mount(2) when it is long."""
    whole = m.fsconfig

    def old(context: int, key: str, value: str | None = None) -> None:
        if key == "lowerdir+":
            raise OSError(22, "Invalid argument")
        whole(context, key, value)

    monkeypatch.setattr(m, "fsconfig", old)
    lowers = []
    for number in range(300):
        (tmp_path / f"l{number}").mkdir()
        (tmp_path / f"l{number}/f").write_text(str(number))
        lowers.append(Mount("bind", str(tmp_path / f"l{number}")))

    def look(cache: LayerMounts) -> list[str]:
        stacks = (tuple(lowers[:2]), tuple(lowers))
        here = Path.cwd()
        views = [Rootfs(stack) for stack in stacks]
        for number, stack in enumerate((*stacks, stacks[0][:1])):
            place = tmp_path / f"snapshot{number}"
            (place / "up").mkdir(parents=True)
            (place / "work").mkdir()
            views.append(Rootfs(stack, str(place / "up"), str(place / "work"), volatile=True))
        seen = [_content(mount_rootfs(root, cache), "f") for root in views]
        return [*seen, str(Path.cwd() == here)]

    assert _isolated(tmp_path, look) == ["0", "0", "0", "0", "0", "True"]


def test_kernels_without_file_backed_erofs(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    """ENOTBLK from a mount of the file: a loop device serves, and is gone afterwards."""
    layer = _layer(tmp_path, "only", {"a": "loop"})
    whole = m.new_filesystem

    def old(kind: str, options: Any = (), attributes: int = 0) -> int:
        if kind == "erofs" and not dict(options)["source"].startswith("/dev/loop"):
            raise OSError(15, "Block device required")
        return whole(kind, options, attributes)

    monkeypatch.setattr(rootfs.m, "new_filesystem", old)
    result = _isolated(tmp_path, lambda cache: _content(mount_rootfs(Rootfs((layer,)), cache), "a"))
    assert result == "loop"
    for name in os.listdir("/sys/block"):
        backing = Path("/sys/block", name, "loop/backing_file")
        assert not backing.exists() or "only.erofs" not in backing.read_text()


def test_long_paths(tmp_path: Path) -> None:
    deep = tmp_path.joinpath(*["d" * 60] * 6)
    for name in ("low", "up", "work"):
        (deep / name).mkdir(parents=True)
    (deep / "low/a").write_text("deep")
    root = Rootfs((Mount("bind", str(deep / "low")),), str(deep / "up"), str(deep / "work"))
    assert _isolated(tmp_path, lambda cache: _content(mount_rootfs(root, cache), "a")) == "deep"


def test_failures_say_what(tmp_path: Path) -> None:
    def fail(root: Rootfs) -> None:
        _isolated(tmp_path, lambda cache: mount_rootfs(root, cache))

    with pytest.raises(InvalidParameter, match="at least one layer"):
        fail(Rootfs(()))
    with pytest.raises(InvalidParameter, match="nfs"):
        fail(Rootfs((Mount("nfs", "x"),)))
    (tmp_path / "junk").write_bytes(b"junk" * 4096)
    with pytest.raises(StartFailed, match="cannot mount the root"):
        fail(Rootfs((Mount("erofs", str(tmp_path / "junk")),)))
    with pytest.raises(StartFailed, match="cannot mount the root"):
        fail(Rootfs((Mount("erofs", str(tmp_path / "missing")),)))


def test_kernels_that_copy_attached_mounts_only(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Before Linux 6.15: of an image that is mounted nowhere, a part is bound all the same."""
    (tmp_path / "d/sub").mkdir(parents=True)
    (tmp_path / "d/sub/f").write_text("part")
    whole, refused = m.open_tree, []

    def old(path: str, dir_fd: int = m.AT_FDCWD, *, recursive: bool = False) -> int:
        if not refused:
            refused.append(path)
            raise OSError(22, "Invalid argument")
        return whole(path, dir_fd, recursive=recursive)

    monkeypatch.setattr(m, "open_tree", old)

    def look(cache: LayerMounts) -> list[str]:
        found = []
        for words, name in ((("bind",), "sub/f"), (("bind", f"{SUBPATH}/sub"), "f")):
            refused.clear()
            image = mount_rootfs(Rootfs((Mount("bind", str(tmp_path / "d")),)), cache)
            before = Path("/proc/self/mountinfo").read_text()
            (fd,) = open_binds([Mount("bind", f"{IMAGE}0", "/x", words)], [image])
            assert Path("/proc/self/mountinfo").read_text() == before
            found.append(_content(fd, name))
        return found

    assert _isolated(tmp_path, look) == ["part", "part"]
