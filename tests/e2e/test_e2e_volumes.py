"""Volumes through the docker CLI: file systems of their own, copy-up, filters, usage, prune."""

from __future__ import annotations

import json
import os
import signal
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, wait_for
from ketch.volumes.mountinfo import mounted_below

pytestmark = pytest.mark.root


@pytest.fixture
def volume(ketchd: Ketchd, name: str) -> Iterator[str]:
    """A volume's name; whoever uses it is removed first."""
    chosen = f"v-{name}"
    yield chosen
    if users := ketchd.out("ps", "-aq", "--filter", f"volume={chosen}").split():
        ketchd.docker("rm", "-fv", *users)
    ketchd.docker("volume", "rm", "-f", chosen)
    assert mounted_below(str(ketchd.data / "volumes")) == []


def create(ketchd: Ketchd, volume: str, *options: str) -> None:
    words = [word for option in options for word in ("--opt", option)]
    assert ketchd.out("volume", "create", *words, volume) == volume


def mounted(ketchd: Ketchd, volume: str) -> bool:
    return str(ketchd.data / "volumes" / volume / "_data") in mounted_below("")


def test_tmpfs_lives_as_long_as_its_last_container(ketchd: Ketchd, volume: str, name: str) -> None:
    create(ketchd, volume, "type=tmpfs", "device=tmpfs", "o=size=1m,uid=1000,mode=0750")
    assert not mounted(ketchd, volume)
    ketchd.docker("run", "-d", "--name", name, "-v", f"{volume}:/v", "busybox", "sleep", "600")
    assert mounted(ketchd, volume)
    ketchd.docker("exec", name, "sh", "-c", "echo kept > /v/file")
    script = "cat /v/file; stat -c '%u %a' /v; dd if=/dev/zero of=/v/big bs=65536 count=99 || true"
    done = ketchd.docker("run", "--rm", "-v", f"{volume}:/v", "busybox", "sh", "-c", script)
    assert done.stdout == b"kept\n1000 750\n"
    assert b"No space left" in done.stderr
    assert mounted(ketchd, volume)
    ketchd.docker("stop", "-t", "0", name)
    wait_for(lambda: not mounted(ketchd, volume), "the volume stays mounted")
    ketchd.docker("start", name)
    assert ketchd.out("exec", name, "ls", "/v") == ""  # as with Docker: memory is gone
    ketchd.docker("rm", "-f", name)
    wait_for(lambda: not mounted(ketchd, volume), "the volume stays mounted")
    assert ketchd.out("volume", "inspect", "-f", "{{.Options.type}}", volume) == "tmpfs"


def test_kill_9_of_the_daemon(ketchd: Ketchd, volume: str, name: str) -> None:
    create(ketchd, volume, "type=tmpfs", "device=tmpfs")
    ketchd.docker("run", "-d", "--name", name, "-v", f"{volume}:/v", "busybox", "sleep", "600")
    ketchd.docker("exec", name, "touch", "/v/there")
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    assert mounted(ketchd, volume)
    assert ketchd.out("run", "--rm", "-v", f"{volume}:/v", "busybox", "ls", "/v") == "there"
    pid = int(ketchd.out("inspect", "-f", "{{.State.Pid}}", name))
    ketchd.stop(signal.SIGKILL)
    os.kill(pid, signal.SIGKILL)  # ends while nobody looks
    wait_for(lambda: not os.path.exists(f"/proc/{pid}"), "it lives")
    assert mounted(ketchd, volume)
    ketchd.start()
    wait_for(lambda: not mounted(ketchd, volume), "the volume stays mounted")


def test_a_block_device_and_its_files(
    ketchd: Ketchd, volume: str, name: str, tmp_path: Path
) -> None:
    image = tmp_path / "disk"
    with image.open("wb") as file:
        file.truncate(16 << 20)
    subprocess.run(["mkfs.ext4", "-q", image], check=True)
    done = subprocess.run(
        ["losetup", "--find", "--show", image], capture_output=True, text=True, check=False
    )
    if done.returncode:
        pytest.skip(f"no loop device: {done.stderr}")
    device = done.stdout.strip()
    try:
        create(ketchd, volume, "type=ext4", f"device={device}", "o=noatime,nosuid")
        mount = ("--mount", f"type=volume,src={volume},dst=/v")
        ketchd.docker("run", "--name", name, *mount, "busybox", "sh", "-c", "echo disk > /v/f")
        wait_for(lambda: not mounted(ketchd, volume), "the volume stays mounted")
        assert ketchd.out("run", "--rm", *mount, "busybox", "cat", "/v/f") == "disk"
        copied = tmp_path / "copied"
        ketchd.docker("cp", f"{name}:/v/f", str(copied))  # of a stopped container
        assert copied.read_text() == "disk\n"
        ketchd.docker("cp", str(copied), f"{name}:/v/again")
        assert "again" in ketchd.out("run", "--rm", *mount, "busybox", "ls", "/v")
        usage = json.loads(ketchd.out("system", "df", "--format", "json", "-v"))
        sizes = {item["Name"]: item["Size"] for item in usage["Volumes"]}
        assert sizes[volume] == "-1B"  # how the docker command line shows "not known"
        ketchd.docker("rm", name)
        ketchd.docker("volume", "rm", volume)
        wait_for(lambda: not mounted(ketchd, volume), "the volume stays mounted")
    finally:
        subprocess.run(["losetup", "--detach", device], check=False)


def test_a_directory_read_only(ketchd: Ketchd, volume: str, tmp_path: Path) -> None:
    (tmp_path / "f").write_text("here")
    create(ketchd, volume, "type=none", "o=bind,ro", f"device={tmp_path}")
    script = "cat /v/f; touch /v/x"
    run = ("run", "--rm", "-v", f"{volume}:/v", "busybox", "sh", "-c", script)
    done = ketchd.docker(*run, code=1)
    assert done.stdout == b"here"
    assert b"Read-only file system" in done.stderr
    wait_for(lambda: not mounted(ketchd, volume), "the volume stays mounted")
    assert (tmp_path / "f").exists()


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("type=nfs", "device=:/x", "o=addr=127.0.0.1,nfsvers=4"), b"failed to mount local volume"),
        (("type=nfs", "device=:/x", "o=addr=no-such.invalid"), b"cannot resolve addr="),
        (("type=nosuchfs", "device=x"), b"the kernel has no file system 'nosuchfs'"),
        (("type=ext4", "device=/nonexistent"), b"no such file or directory"),
    ],
)
def test_what_cannot_be_mounted(
    ketchd: Ketchd, volume: str, name: str, options: tuple[str, ...], said: bytes
) -> None:
    create(ketchd, volume, *options)
    done = ketchd.docker(
        "run", "--name", name, "-v", f"{volume}:/v", "busybox", "true", code=None, timeout=40
    )
    assert done.returncode in (125, 127)  # the docker command line decides by words
    assert said in done.stderr
    assert not mounted(ketchd, volume)


@pytest.mark.parametrize(
    ("options", "said"),
    [
        (("type=tmpfs",), 'missing required option: "device"'),
        (("bogus=1",), 'invalid option: "bogus"'),
        (("size=1g",), "quota size requested but no quota support"),
    ],
)
def test_options_that_make_no_sense(ketchd: Ketchd, options: tuple[str, ...], said: str) -> None:
    words = [word for option in options for word in ("-o", option)]
    done = ketchd.docker("volume", "create", *words, "v-wrong", code=1)
    assert said.encode() in done.stderr
    assert ketchd.out("volume", "ls", "-q", "--filter", "name=v-wrong") == ""


def test_copy_up_into_tmpfs_and_plain(ketchd: Ketchd, volume: str, tmp_path: Path) -> None:
    (tmp_path / "Dockerfile").write_text(
        "FROM busybox\nRUN mkdir -m 2750 /d && echo in > /d/f && chown -R 1000:7 /d && "
        "chmod 4711 /d/f && ln -s f /d/l\n"
    )
    ketchd.docker("build", "-q", "-t", "copy-up:1", str(tmp_path))
    create(ketchd, volume, "type=tmpfs", "device=tmpfs")
    look = "stat -c '%n %a %u:%g' /d /d/f; readlink /d/l"
    shown = ketchd.out("run", "--rm", "copy-up:1", "sh", "-c", look)
    for mount in ("/d", f"{volume}:/d"):
        assert ketchd.out("run", "--rm", "-v", mount, "copy-up:1", "sh", "-c", look) == shown
    ketchd.docker("rmi", "copy-up:1")


def test_list_prune_and_usage(ketchd: Ketchd, volume: str, name: str) -> None:
    ketchd.docker("volume", "create", "--label", "a=b", volume)
    ketchd.docker("run", "--name", name, "-v", f"{volume}:/v", "-v", "/anonymous", "busybox",
                  "sh", "-c", "echo 12345 > /v/f")  # fmt: skip

    def names(*filters: str) -> list[str]:
        words = [word for text in filters for word in ("--filter", text)]
        return ketchd.out("volume", "ls", "-q", *words).split()

    assert names("label=a=b") == names("label=a", "dangling=false") == [volume]
    assert names("dangling=true", f"name={volume}") == []
    assert volume in names("driver=local")
    assert b"volume is in use" in ketchd.docker("volume", "rm", volume, code=1).stderr
    usage = json.loads(ketchd.out("system", "df", "-v", "--format", "json"))
    (mine,) = [item for item in usage["Volumes"] if item["Name"] == volume]
    assert (mine["Links"], mine["Size"]) == ("1", "6B")
    ketchd.docker("rm", name)
    pruned = ketchd.out("volume", "prune", "-f")
    assert volume not in pruned  # it has a name
    assert "Total reclaimed space" in pruned
    assert volume in ketchd.out("volume", "prune", "-af", "--filter", "label=a=b")
    assert names(f"name={volume}") == []
