"""A full disk: each writer says what could not be stored, nothing half-made stays, and what frees
space works."""

from __future__ import annotations

import json
import os
import random
import shutil
import subprocess
import tarfile
import tempfile
from collections.abc import Iterator
from io import BytesIO
from pathlib import Path

import pytest

from e2e.conftest import assert_clean, clean_up, load_busybox
from e2e.ketchd_process import Ketchd, wait_for
from e2e.leaks import kill_processes, leftovers
from e2e.registry_process import Registry

pytestmark = pytest.mark.root

SIZE = "56M"
REASON = b"no space left on device"


class SmallDisk:
    """The daemon's data root as a file system of its own."""

    def __init__(self, daemon: Ketchd) -> None:
        self.daemon = daemon
        self.root = daemon.data
        image = daemon.folder / "disk.img"
        self.root.mkdir()
        subprocess.run(["truncate", "-s", SIZE, image], check=True)
        subprocess.run(["mkfs.ext4", "-q", "-m", "0", image], check=True)
        subprocess.run(["mount", "-o", "loop", image, self.root], check=True)

    def unmount(self) -> None:
        subprocess.run(["umount", self.root], check=True)

    def fill(self, leave: int = 0) -> None:
        """Take all blocks but ``leave`` bytes."""
        wait_for(lambda: not self.trash(), "the trash is not emptied")
        with open(self.root / "filler", "wb", buffering=0) as file:
            while os.statvfs(self.root).f_bavail:
                for size in (1 << 20, 1 << 16, 4096):
                    while self._write(file.fileno(), size):
                        pass
                os.fsync(file.fileno())
            if leave:
                os.ftruncate(file.fileno(), os.fstat(file.fileno()).st_size - leave)
            os.fsync(file.fileno())

    @staticmethod
    def _write(fd: int, size: int) -> bool:
        try:
            return os.write(fd, b"x" * size) == size
        except OSError:
            return False

    def free(self) -> None:
        (self.root / "filler").unlink(missing_ok=True)

    def listing(self) -> list[str]:
        """Everything in the data root but the database, logs and what is about to be deleted."""
        found = []
        for folder, folders, names in os.walk(self.root):
            here = os.path.relpath(folder, self.root)
            folders[:] = [name for name in folders if f"{here}/{name}" != "./trash"]
            kept = [name for name in names if not name.startswith("ketch.db")]
            if here.startswith("snapshots/"):
                folders = []  # a directory that was copied up says nothing
            found += [f"{here}/{name}" for name in (*folders, *kept) if name != "filler"]
        return sorted(found)

    def trash(self) -> list[str]:
        return os.listdir(self.root / "trash")


@pytest.fixture(scope="module")
def small() -> Iterator[SmallDisk]:
    daemon = Ketchd(Path(tempfile.mkdtemp(prefix="ketch-e2e-")), **{"warm-pool": "1"})
    disk = SmallDisk(daemon)
    try:
        daemon.start()
        load_busybox(daemon)
        daemon.docker("save", "-o", str(daemon.folder / "saved.tar"), "busybox")
        daemon.docker("create", "--name", "made", "busybox", "echo", "hi")
        daemon.docker("build", "-q", "-", input=b"FROM busybox\n")  # makes the floor of all builds
        talk = "i=0; while :; do echo line $i; i=$((i+1)); sleep 0.01; done"
        daemon.docker("run", "-d", "--name", "talker", "busybox", "sh", "-c", talk)
        yield disk
        disk.free()
        daemon.shutdown_everything()
        wait_for(lambda: leftovers(daemon).keys() == {"mounts"}, "something was left behind")
        disk.unmount()
        assert_clean(daemon)
    finally:
        if daemon.process is not None:
            daemon.process.kill()
            daemon.process.wait()
            kill_processes(daemon)
            disk.unmount()
        clean_up(daemon)


@pytest.fixture
def full(small: SmallDisk) -> Iterator[SmallDisk]:
    """Not a block is left."""
    small.fill()
    yield small
    small.free()


@pytest.fixture
def nearly_full(small: SmallDisk) -> Iterator[SmallDisk]:
    """Two megabytes are left: what is larger fails on its way."""
    small.fill(2 << 20)
    yield small
    small.free()


def noise(size: int) -> bytes:
    return random.Random(size).randbytes(size)


def layer_tar(size: int) -> bytes:
    out = BytesIO()
    with tarfile.open(fileobj=out, mode="w") as tar:
        info = tarfile.TarInfo("big")
        info.size = size
        tar.addfile(info, BytesIO(noise(size)))
    return out.getvalue()


def context(daemon: Ketchd, dockerfile: str) -> str:
    folder = daemon.folder / f"context-{abs(hash(dockerfile))}"
    folder.mkdir(exist_ok=True)
    (folder / "Dockerfile").write_text(dockerfile)
    (folder / "big").write_bytes(noise(4 << 20))
    return str(folder)


def saved(daemon: Ketchd) -> bytes:
    """An archive of an image that is not there: the layer's tar as docker save has it."""
    layer, out = layer_tar(6 << 20), BytesIO()
    import hashlib

    diff = "sha256:" + hashlib.sha256(layer).hexdigest()
    config = json.dumps(
        {"architecture": "amd64", "os": "linux", "config": {},
         "rootfs": {"type": "layers", "diff_ids": [diff]}}
    ).encode()  # fmt: skip
    manifest = [{"Config": "c.json", "RepoTags": ["big:latest"], "Layers": ["l/layer.tar"]}]
    members = {
        "c.json": config,
        "l/layer.tar": layer,
        "manifest.json": json.dumps(manifest).encode(),
    }
    with tarfile.open(fileobj=out, mode="w") as tar:
        for name, data in members.items():
            info = tarfile.TarInfo(name)
            info.size = len(data)
            tar.addfile(info, BytesIO(data))
    return out.getvalue()


WRITERS = {
    "import": lambda d: (["import", "-", "big"], layer_tar(8 << 20)),
    "load": lambda d: (["load"], saved(d)),
    "build": lambda d: (["build", context(d, "FROM busybox\nCOPY big /big\n")], None),
    "build run": lambda d: (
        [
            "build",
            context(d, "FROM busybox\nRUN cat /dev/urandom | head -c 4m >/x && test -s /x\n"),
        ],
        None,
    ),
    "cp": lambda d: (["cp", f"{context(d, 'x')}/big", "talker:/big"], None),
    "cp over": lambda d: (["cp", f"{context(d, 'x')}/big", "talker:/bin/busybox"], None),
}


@pytest.mark.parametrize("kind", WRITERS)
def test_large_things_leave_nothing(nearly_full: SmallDisk, kind: str) -> None:
    daemon = nearly_full.daemon
    words, data = WRITERS[kind](daemon)  # type: ignore[no-untyped-call]
    before, shown = nearly_full.listing(), daemon.out("images", "-aq")
    done = daemon.docker(*words, input=data, code=None)
    said = done.stdout + done.stderr
    assert done.returncode == 1
    assert REASON in said.lower(), said
    assert daemon.out("images", "-aq") == shown
    wait_for(lambda: nearly_full.listing() == before, f"{kind} left something behind")
    assert daemon.out("exec", "talker", "echo", "alive") == "alive"


@pytest.mark.parametrize(
    "words",
    [
        ["create", "busybox"],
        ["run", "--rm", "busybox", "true"],
        ["volume", "create", "v1"],
        ["create", "-v", "v2:/x", "busybox"],
        ["build", "-q", "-"],
        ["cp", "/bin/busybox", "talker:/b2"],
        ["commit", "talker", "committed"],
    ],
    ids=lambda words: " ".join(words[:2]),
)
def test_small_things_leave_nothing(full: SmallDisk, words: list[str]) -> None:
    daemon = full.daemon
    before, volumes = full.listing(), daemon.out("volume", "ls", "-q")
    containers = daemon.out("ps", "-aq")
    data = b"FROM busybox\nRUN echo hi >/x\n" if words[0] == "build" else None
    done = daemon.docker(*words, input=data, code=None)
    assert done.returncode in (1, 125)
    assert REASON in (done.stdout + done.stderr).lower(), done
    assert daemon.out("ps", "-aq") == containers
    assert daemon.out("volume", "ls", "-q") == volumes
    wait_for(lambda: full.listing() == before, "something was left behind")


def test_pull(small: SmallDisk) -> None:
    daemon = small.daemon
    with Registry(daemon.folder / "registry") as registry:
        name = f"{registry.address}/big:1"
        daemon.docker("import", "-", name, input=layer_tar(6 << 20))
        daemon.docker("push", name)
        daemon.docker("rmi", name)
        wait_for(lambda: not small.trash(), "the trash is not emptied")
        before = small.listing()
        small.fill(2 << 20)
        try:
            done = daemon.docker("pull", name, code=1)
            assert REASON in (done.stdout + done.stderr).lower()
            assert name not in daemon.out("images", "--format", "{{.Repository}}:{{.Tag}}")
        finally:
            small.free()
        daemon.docker("pull", name)
        daemon.docker("rmi", name)
        wait_for(lambda: small.listing() == before, "the pull left something behind")


def test_what_runs_goes_on_and_can_be_ended(full: SmallDisk) -> None:
    """State changes have their room: nobody needs space to make space."""
    daemon = full.daemon
    assert daemon.out("exec", "talker", "echo", "hi") == "hi"
    daemon.docker("rename", "made", "made2")
    daemon.docker("rename", "made2", "made")
    assert b"line" in daemon.docker("logs", "--tail", "1", "talker").stdout
    done = daemon.docker("start", "made", code=1)
    assert REASON in done.stderr.lower()
    assert "made" in daemon.out("ps", "-a", "--filter", "status=created")
    daemon.docker("stop", "-t", "0", "talker")
    state = json.loads(daemon.out("inspect", "talker"))[0]["State"]
    assert (state["Status"], state["ExitCode"]) == ("exited", 137)
    full.free()
    daemon.docker("start", "talker")
    assert daemon.out("start", "-a", "made") == "hi"


def test_containers_are_removed_on_a_full_disk(full: SmallDisk) -> None:
    daemon = full.daemon
    full.free()
    daemon.docker("run", "-d", "--name", "doomed", "busybox", "sh", "-c", "yes >/x; sleep 600")
    wait_for(lambda: _free(full) == 0, "the container did not fill the disk")
    daemon.docker("rm", "-f", "doomed")
    wait_for(lambda: _free(full) > 8 << 20, "the space was not given back")


def _free(disk: SmallDisk) -> int:
    found = os.statvfs(disk.root)
    return found.f_bavail * found.f_bsize


def test_an_exit_is_recorded_while_the_daemon_is_away(small: SmallDisk) -> None:
    daemon = small.daemon
    daemon.docker("run", "-di", "--name", "ends", "busybox", "sh", "-c", "sleep 0.5; exit 44")
    pid = json.loads(daemon.out("inspect", "ends"))[0]["State"]["Pid"]
    daemon.stop(9)
    small.fill()
    try:
        wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "it did not end")
        daemon.start()
        assert json.loads(daemon.out("inspect", "ends"))[0]["State"]["ExitCode"] == 44
        daemon.docker("rm", "ends")
    finally:
        small.free()


@pytest.mark.parametrize("number", [9, 15])
def test_the_daemon_starts_on_a_full_disk(full: SmallDisk, number: int) -> None:
    """Also after a shutdown in good order, which gives the log of the database away."""
    daemon = full.daemon
    daemon.stop(number)
    full.fill()
    daemon.start()
    assert daemon.out("exec", "talker", "echo", "hi") == "hi"
    daemon.docker("rename", "made", "made3")
    daemon.docker("rename", "made3", "made")


def test_it_works_again(small: SmallDisk) -> None:
    daemon = small.daemon
    assert daemon.out("run", "--rm", "busybox", "echo", "hi") == "hi"
    daemon.docker("build", "-t", "built", context(daemon, "FROM busybox\nCOPY big /big\n"))
    daemon.docker("rmi", "built")
    shutil.rmtree(daemon.folder / "registry", ignore_errors=True)
