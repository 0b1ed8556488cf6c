"""Hostile archives through every door: nothing outside changes, nothing hangs, nothing stays."""

from __future__ import annotations

import contextlib
import gzip
import hashlib
import io
import json
import os
import signal
import subprocess
import tarfile
import tempfile
import threading
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import zstandard

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketchd_process import Ketchd, docker_path, wait_for
from e2e.leaks import kill_processes, leftovers
from e2e.web_server import serving

pytestmark = pytest.mark.root
UP = "../" * 30


@pytest.fixture
def canary(tmp_path: Path) -> Iterator[Path]:
    """A directory of the host that must stay as it is."""
    folder = tmp_path / "canary"
    folder.mkdir(mode=0o750)
    (folder / "kept").write_text("kept")
    (folder / "kept").chmod(0o640)
    before = state(folder)
    yield folder
    assert state(folder) == before


def state(folder: Path) -> list[tuple[Any, ...]]:
    found: list[tuple[Any, ...]] = []
    for path in [folder, *sorted(folder.rglob("*"))]:
        info = path.lstat()
        data = path.read_bytes() if path.is_file() else b""
        found.append((str(path), info.st_mode, info.st_uid, info.st_nlink, info.st_size, data))
        found.append(tuple(os.listxattr(path)))
    return found


def member(name: str, data: bytes = b"", **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    info = tarfile.TarInfo(name)
    info.size = len(data)
    for key, value in fields.items():
        setattr(info, key, value)
    return info, data


def link(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.SYMTYPE, linkname=target)


def hard(name: str, target: str) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.LNKTYPE, linkname=target)


def folder(name: str, **fields: Any) -> tuple[tarfile.TarInfo, bytes]:
    return member(name, type=tarfile.DIRTYPE, **fields)


def tar(*members: tuple[tarfile.TarInfo, bytes]) -> bytes:
    out = io.BytesIO()
    with tarfile.open(fileobj=out, mode="w", format=tarfile.PAX_FORMAT) as archive:
        for info, data in members:
            archive.addfile(info, io.BytesIO(data))
    return out.getvalue()


CASES: dict[str, Callable[[str], bytes]] = {
    "parents": lambda c: tar(member(f"{UP}{c[1:]}/new", b"x"), member("a/../../../x", b"x")),
    "absolute": lambda c: tar(member(f"{c}/kept", b"pwned")),
    "through a link": lambda c: tar(link("l", c), member("l/new", b"x"), member("l/kept", b"x")),
    "through a relative link": lambda c: tar(link("l", f"{UP}{c[1:]}"), member("l/kept", b"x")),
    "link replaced": lambda c: tar(folder("d"), link("d", c), member("d/kept", b"x")),
    "hard link out": lambda c: tar(hard("h", f"{c}/kept"), member("h", b"pwned")),
    "hard link to a link": lambda c: tar(
        link("l", f"{c}/kept"), hard("h", "l"), member("h", b"pwned", mode=0o777, uid=5)
    ),
    "modes through links": lambda c: tar(link("l", c), folder("l", mode=0o777, uid=7)),
    "whiteout through a link": lambda c: tar(link("l", c), member("l/.wh.kept")),
    "opaque through a link": lambda c: tar(link("l", c), member("l/.wh..wh..opq")),
    "path in PAX": lambda c: tar(
        member("harmless", b"x", pax_headers={"path": f"{UP}{c[1:]}/new"})
    ),
    "link in PAX": lambda c: tar(
        member("h", type=tarfile.LNKTYPE, linkname="x", pax_headers={"linkpath": f"{c}/kept"})
    ),
    "xattrs of overlayfs": lambda c: tar(
        folder("d", pax_headers={"SCHILY.xattr.trusted.overlay.opaque": "y"}),
        member("m", b"x", pax_headers={"SCHILY.xattr.trusted.overlay.redirect": c}),
    ),
    "device": lambda c: tar(member("sda", type=tarfile.BLKTYPE, devmajor=8, devminor=0)),
    "size beyond reason": lambda c: tar(member("x", b"x"))[:124] + b"\x80" + b"\0" * 3
    + b"\x7f" + b"\xff" * 7 + tar(member("x", b"x"))[136:],
    "200 deep": lambda c: tar(member("d/" * 200 + "x", b"x")),
    "4000 deep": lambda c: tar(member("d/" * 4000 + "x", b"x")),
    "cut": lambda c: tar(member("x", b"x" * 5000))[:3000],
}  # fmt: skip


def digest(data: bytes) -> str:
    return "sha256:" + hashlib.sha256(data).hexdigest()


def config_of(layer: bytes) -> bytes:
    rootfs = {"type": "layers", "diff_ids": [digest(layer)]}
    return json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {}, "rootfs": rootfs}
    ).encode()


def by_import(ketchd: Ketchd, layer: bytes, folder: Path) -> None:
    ketchd.docker("import", "-", "hostile:1", input=layer, code=None)


def by_load(ketchd: Ketchd, layer: bytes, folder: Path) -> None:
    manifest = [{"Config": "c.json", "RepoTags": ["hostile:1"], "Layers": ["l/layer.tar"]}]
    archive = tar(
        member("c.json", config_of(layer)),
        member("l/layer.tar", layer),
        member("manifest.json", json.dumps(manifest).encode()),
    )
    ketchd.docker("load", input=archive, code=None)


def by_outer_archive(ketchd: Ketchd, layer: bytes, folder: Path) -> None:
    """The archive itself is the hostile one."""
    ketchd.docker("load", input=layer, code=1)


def by_pull(ketchd: Ketchd, layer: bytes, folder: Path) -> None:
    config, blob = config_of(layer), gzip.compress(layer, mtime=0)
    kind = "application/vnd.oci.image.manifest.v1+json"
    manifest = {
        "schemaVersion": 2,
        "mediaType": kind,
        "config": {"mediaType": "application/vnd.oci.image.config.v1+json",
                   "digest": digest(config), "size": len(config)},
        "layers": [{"mediaType": "application/vnd.oci.image.layer.v1.tar+gzip",
                    "digest": digest(blob), "size": len(blob)}],
    }  # fmt: skip
    document = json.dumps(manifest).encode()
    with serving() as web:
        web.pages = {
            "/v2/": b"{}",
            "/v2/h/manifests/1": lambda request, body: (200, {"Content-Type": kind}, document),
            f"/v2/h/blobs/{digest(config)}": config,
            f"/v2/h/blobs/{digest(blob)}": blob,
        }
        name = f"{web.address}/h:1"
        ketchd.docker("pull", name, code=None)
        ketchd.docker("rmi", name, code=None)


def by_cp(ketchd: Ketchd, layer: bytes, folder: Path) -> None:
    ketchd.docker("cp", "-", "hostile-target:/tmp", input=layer, code=None)


def by_add(ketchd: Ketchd, layer: bytes, folder: Path) -> None:
    context = folder / "context"
    context.mkdir()
    (context / "layer.tar").write_bytes(layer)
    (context / "Dockerfile").write_text("FROM busybox\nADD layer.tar /\n")
    ketchd.docker("build", "-t", "hostile:1", str(context), code=None)


def by_context(ketchd: Ketchd, layer: bytes, folder: Path) -> None:
    ketchd.docker("build", "-t", "hostile:1", "-", input=layer, code=1)


DOORS = {
    "import": by_import, "load": by_load, "outer": by_outer_archive, "pull": by_pull, "cp": by_cp,
    "add": by_add, "context": by_context,
}  # fmt: skip


@pytest.fixture(scope="module")
def target(ketchd: Ketchd) -> Iterator[None]:
    ketchd.docker("create", "--name", "hostile-target", "busybox")
    yield
    ketchd.docker("rm", "hostile-target")


@pytest.mark.parametrize("door", DOORS)
@pytest.mark.usefixtures("target")
def test_nothing_outside_changes(ketchd: Ketchd, canary: Path, door: str, tmp_path: Path) -> None:
    for name, make in CASES.items():
        place = tmp_path / name.replace(" ", "-")
        place.mkdir()
        DOORS[door](ketchd, make(str(canary)), place)
        assert ketchd.answers(), name
        if door in ("outer", "cp", "pull"):
            continue
        if ketchd.out("images", "-q", "hostile:1"):
            script = f"ls -laR / >/dev/null; cat {canary}/kept"
            ketchd.docker("run", "--rm", "hostile:1", "/bin/sh", "-c", script, code=None)
            ketchd.docker("rmi", "-f", "hostile:1")


# what is too much


class SmallDisk:
    """A daemon whose data root is a file system of 160 MB."""

    def __init__(self) -> None:
        self.daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")), **{"warm-pool": "1"})
        image = self.daemon.folder / "disk.img"
        self.daemon.data.mkdir()
        subprocess.run(["truncate", "-s", "160M", image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.daemon.data], check=True)

    def free(self) -> int:
        found = os.statvfs(self.daemon.data)
        return found.f_bavail * found.f_frsize


@pytest.fixture(scope="module")
def small() -> Iterator[SmallDisk]:
    disk = SmallDisk()
    daemon = disk.daemon
    try:
        daemon.start()
        load_busybox(daemon)
        yield disk
        daemon.shutdown_everything()
        wait_for(lambda: leftovers(daemon).keys() == {"mounts"}, "something was left behind")
        subprocess.run(["umount", daemon.data], check=True)
        assert_clean(daemon)
    finally:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()
            kill_processes(daemon)
            subprocess.run(["umount", daemon.data], check=False)
        clean_up(daemon)


def bomb(kind: str) -> bytes:
    """10 GB of ones as the only file of a tar, as repeated frames of the compression. (Zeros would
    take no room.)"""
    info = tarfile.TarInfo("ones")
    info.size = 10 << 30
    head = info.tobuf(tarfile.PAX_FORMAT)
    pack = gzip.compress if kind == "gzip" else zstandard.ZstdCompressor().compress
    return pack(head) + pack(b"\1" * (32 << 20)) * (info.size >> 25) + pack(bytes(1024))


class Peak(threading.Thread):
    """The most private memory that the daemon and what it started had at once, in bytes."""

    def __init__(self, daemon: Ketchd) -> None:
        super().__init__(daemon=True)
        self._marks = (str(daemon.run), str(daemon.data))
        self._over = threading.Event()
        self.bytes = 0

    def run(self) -> None:
        while not self._over.wait(0.05):
            self.bytes = max(self.bytes, sum(map(_private, self._pids())))

    def end(self) -> int:
        self._over.set()
        self.join()
        return self.bytes

    def _pids(self) -> list[str]:
        found = []
        for pid in filter(str.isdigit, os.listdir("/proc")):
            try:
                words = Path(f"/proc/{pid}/cmdline").read_text(errors="replace")
            except OSError:
                continue
            if "ketch" in words and any(mark in words for mark in self._marks):
                found.append(pid)
        return found


def _private(pid: str) -> int:
    try:
        text = Path(f"/proc/{pid}/smaps_rollup").read_text()
    except OSError:
        return 0
    lines = [line.split() for line in text.splitlines() if line.startswith("Private_")]
    return sum(int(line[1]) for line in lines) * 1024


@pytest.mark.parametrize("kind", ["gzip", "zstd"])
def test_bombs(small: SmallDisk, kind: str) -> None:
    wait_for(lambda: not os.listdir(small.daemon.data / "trash"), "the trash stays")
    before, data = small.free(), bomb(kind)
    peak = Peak(small.daemon)
    peak.start()
    done = small.daemon.docker("import", "-", "bomb:1", input=data, code=1)
    assert peak.end() < 200 << 20
    assert peak.bytes > 0
    assert b"no space left on device" in done.stderr
    wait_for(lambda: small.free() > before - (1 << 20), "the space is not given back")
    assert small.daemon.out("images", "-q", "bomb") == ""


def test_a_client_that_leaves_ends_the_work(small: SmallDisk) -> None:
    """An archive without an end; its sender is killed in the middle of a million tiny entries."""
    daemon = small.daemon
    before = small.free()
    client = subprocess.Popen(
        [docker_path() or "docker", "import", "-", "endless:1"],
        env=daemon.env(), stdin=subprocess.PIPE, stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )  # fmt: skip
    assert client.stdin is not None
    for number in range(100_000):
        client.stdin.write(tarfile.TarInfo(f"tiny/{number}").tobuf(tarfile.USTAR_FORMAT))
    assert workers(daemon)
    client.send_signal(signal.SIGKILL)
    client.wait()
    wait_for(lambda: not workers(daemon), "what was stored stays", timeout=10)
    wait_for(lambda: small.free() > before - (1 << 20), "the space is not given back")
    with contextlib.suppress(BrokenPipeError):
        client.stdin.close()


def workers(daemon: Ketchd) -> list[str]:
    """What is being stored at the moment."""
    return daemon.unfinished()
