"""Every kind of mount that ``docker run`` can ask for, against what the container sees."""

from __future__ import annotations

import json
import os
import subprocess
from collections.abc import Iterator
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, run, wait_for

pytestmark = pytest.mark.root


@pytest.fixture
def tree(tmp_path: Path) -> Iterator[Path]:
    """A directory that is a shared mount, with a tmpfs mounted in it."""
    top = tmp_path / "tree"
    (top / "sub").mkdir(parents=True)
    subprocess.run(["mount", "-t", "tmpfs", "top", str(top)], check=True)
    try:
        subprocess.run(["mount", "--make-shared", str(top)], check=True)
        (top / "sub").mkdir()
        (top / "file").write_text("data")
        subprocess.run(["mount", "-t", "tmpfs", "sub", str(top / "sub")], check=True)
        yield top
    finally:
        subprocess.run(["umount", "-R", str(top)], check=True)


WRITE_BOTH = "touch /m/x && echo top; touch /m/sub/x && echo sub"


@pytest.mark.parametrize(
    ("options", "writable"),
    [
        ("", "top sub"),
        (",readonly", ""),
        (",readonly,bind-recursive=writable", "sub"),
        (",readonly,bind-recursive=readonly,bind-propagation=rprivate", ""),
    ],
)
def test_read_only_goes_as_deep_as_asked(
    ketchd: Ketchd, tree: Path, options: str, writable: str
) -> None:
    mount = f"type=bind,src={tree},dst=/m{options}"
    out = run(ketchd, "--mount", mount, "busybox", "sh", "-c", WRITE_BOTH + "; true")
    assert [word for word in out.split() if word in ("top", "sub")] == writable.split()


def test_short_syntax_is_read_only_to_the_bottom(ketchd: Ketchd, tree: Path) -> None:
    out = run(ketchd, "-v", f"{tree}:/m:ro", "busybox", "sh", "-c", WRITE_BOTH + "; true")
    assert out.count("Read-only file system") == 2


def test_a_bind_without_what_is_below_it(ketchd: Ketchd, tree: Path) -> None:
    mount = f"type=bind,src={tree},dst=/m,bind-recursive=disabled"
    assert run(ketchd, "--mount", mount, "busybox", "grep", "-c", " /m", "/proc/mounts") == "1"


def test_a_mount_that_the_host_has_read_only_stays_so(ketchd: Ketchd, tree: Path) -> None:
    subprocess.run(["mount", "-o", "remount,bind,ro", str(tree)], check=True)
    assert "Read-only" in run(ketchd, "-v", f"{tree}:/m", "busybox", "touch", "/m/x", code=1)


def test_shared_mounts_propagate_to_the_host(ketchd: Ketchd, tree: Path, name: str) -> None:
    script = "mkdir /m/new && mount -t tmpfs new /m/new && touch /m/new/made && sleep 600"
    ketchd.docker(
        "run", "-d", "--name", name, "--privileged", "-v", f"{tree}:/m:rshared",
        "busybox", "sh", "-c", script,
    )  # fmt: skip
    wait_for((tree / "new" / "made").exists, "the container's mount did not reach the host")
    ketchd.docker("rm", "-f", name)


@pytest.mark.parametrize(("propagation", "seen"), [("rslave", True), ("rprivate", False)])
def test_the_hosts_mounts_reach_slaves(
    ketchd: Ketchd, tree: Path, name: str, propagation: str, seen: bool
) -> None:
    mount = f"type=bind,src={tree},dst=/m,bind-propagation={propagation}"
    ketchd.docker("run", "-d", "--name", name, "--mount", mount, "busybox", "sleep", "600")
    (tree / "late").mkdir()
    subprocess.run(["mount", "-t", "tmpfs", "late", str(tree / "late")], check=True)
    found = ketchd.out("exec", name, "cat", "/proc/mounts")
    assert ("late /m/late" in found) is seen
    ketchd.docker("rm", "-f", name)


@pytest.mark.parametrize("propagation", ["slave", "private"])
def test_what_is_mounted_below_is_no_peer_of_the_hosts(
    ketchd: Ketchd, tree: Path, propagation: str
) -> None:
    """Else what the container mounts there would appear on the host."""
    script = "mkdir /m/sub/x && mount -t tmpfs x /m/sub/x && cat /proc/self/mountinfo"
    words = ("--privileged", "-v", f"{tree}:/m:{propagation}", "busybox", "sh", "-c", script)
    found = [line for line in run(ketchd, *words).splitlines() if " /m/sub " in line]
    assert "master:" in found[0]
    assert "shared:" not in found[0]
    assert str(tree / "sub" / "x") not in Path("/proc/self/mountinfo").read_text()


def test_propagation_of_a_private_mount_is_refused(ketchd: Ketchd, tree: Path) -> None:
    subprocess.run(["mount", "--make-private", str(tree)], check=True)
    out = run(ketchd, "-v", f"{tree}/file:/m:rshared", "busybox", "true", code=125)
    assert f"path {tree}/file is mounted on {tree} but it is not a shared mount" in out
    out = run(ketchd, "-v", f"{tree}:/m:rslave", "busybox", "true", code=125)
    assert "is not a shared or slave mount" in out


def test_missing_sources(ketchd: Ketchd, tmp_path: Path) -> None:
    missing = tmp_path / "missing"
    out = run(ketchd, "--mount", f"type=bind,src={missing},dst=/m", "busybox", "true", code=125)
    assert f"bind source path does not exist: {missing}" in out
    run(ketchd, "-v", f"{missing}:/m", "busybox", "true")
    assert missing.is_dir()


def test_a_path_in_a_volume(ketchd: Ketchd, name: str) -> None:
    fill = "mkdir -p /v/a/b; echo inside > /v/a/b/f; ln -s /etc /v/out; ln -s a/b /v/in"
    run(ketchd, "-v", f"{name}:/v", "busybox", "sh", "-c", fill)
    mount = f"type=volume,src={name},dst=/m,volume-subpath="
    assert run(ketchd, "--mount", mount + "a/b", "busybox", "cat", "/m/f") == "inside"
    assert run(ketchd, "--mount", mount + "in", "busybox", "cat", "/m/f") == "inside"
    assert run(ketchd, "--mount", mount + "a/b/f", "busybox", "cat", "/m") == "inside"
    for subpath in ("nothing", "out"):  # a link to /etc means the volume's own /etc
        out = run(ketchd, "--mount", mount + subpath, "busybox", "true", code=127)
        assert "no such file or directory" in out
    out = run(ketchd, "--mount", mount + "../x", "busybox", "true", code=125)
    assert "subpath must be a relative path within the volume" in out
    ketchd.docker("create", "--name", name, "--mount", mount + "a", "busybox")
    assert b"inside" in ketchd.docker("cp", f"{name}:/m/b/f", "-").stdout
    options = json.loads(ketchd.out("inspect", "-f", "{{json .HostConfig.Mounts}}", name))[0]
    assert options["VolumeOptions"]["Subpath"] == "a"
    ketchd.docker("rm", name)
    ketchd.docker("volume", "rm", name)


def test_an_image_as_mount(ketchd: Ketchd, name: str) -> None:
    mount = "type=image,src=busybox,dst=/m"
    assert "root:" in run(ketchd, "--mount", mount, "busybox", "cat", "/m/etc/passwd")
    out = run(ketchd, "--mount", mount, "busybox", "touch", "/m/x", code=1)
    assert "Read-only file system" in out
    sub = mount + ",image-subpath=etc"
    assert "guest" in run(ketchd, "--mount", sub, "--mount", "type=tmpfs,dst=/t", "busybox",
                          "cat", "/m/passwd")  # fmt: skip
    cold = ("--pid", "host", "--mount", sub)
    assert "guest" in run(ketchd, *cold, "busybox", "cat", "/m/passwd")
    out = run(ketchd, "--mount", "type=image,src=nothing,dst=/m", "busybox", "true", code=125)
    assert "No such image: nothing:latest" in out
    ketchd.docker("create", "--name", name, "--mount", sub, "busybox")
    assert b"guest" in ketchd.docker("cp", f"{name}:/m/passwd", "-").stdout
    ketchd.docker("rm", name)


def test_the_layers_of_a_mounted_image_stay(ketchd: Ketchd, name: str) -> None:
    """The image may go while a container has it as mount; its layers must not."""
    ketchd.docker("run", "--name", name, "busybox", "sh", "-c", "echo only here > /only")
    ketchd.docker("commit", name, f"{name}:1")
    ketchd.docker("rm", name)
    ketchd.docker("create", "--name", name, "--mount", f"type=image,src={name}:1,dst=/m",
                  "busybox", "cat", "/m/only")  # fmt: skip
    ketchd.docker("rmi", f"{name}:1")
    assert ketchd.out("start", "-a", name) == "only here"
    ketchd.docker("rm", name)


@pytest.mark.parametrize(
    ("flag", "options", "mode"),
    [
        (("--tmpfs", "/m"), "nosuid,nodev,noexec", "1777"),
        (("--tmpfs", "/m:size=1m,mode=700,uid=5,exec,nr_inodes=20"),
         "size=1024k,nr_inodes=20", "700"),
        (("--tmpfs", "/m:ro"), "ro", "1777"),
        (("--mount", "type=tmpfs,dst=/m,tmpfs-size=2m,tmpfs-mode=0750"), "size=2048k", "750"),
    ],
)  # fmt: skip
def test_tmpfs(ketchd: Ketchd, flag: tuple[str, ...], options: str, mode: str) -> None:
    script = "grep ' /m ' /proc/mounts | cut -d' ' -f3,4; stat -c %a /m"
    mounted, found = run(ketchd, *flag, "busybox", "sh", "-c", script).splitlines()
    kind, _, words = mounted.partition(" ")
    assert kind == "tmpfs"
    assert set(options.split(",")) <= set(words.split(","))
    assert ("noexec" in words.split(",")) is ("exec" not in "".join(flag).split(","))
    assert found == mode


@pytest.mark.parametrize(
    ("option", "shown"),
    [
        ("bogus", '["bogus"]'), ("bogus=1", '["bogus" "1"]'), ("size", '["size"]'),
        ("lowerdir=/", '["lowerdir" "/"]'),
    ],
)  # fmt: skip
def test_unknown_tmpfs_options(ketchd: Ketchd, option: str, shown: str) -> None:
    out = run(ketchd, "--tmpfs", f"/m:{option}", "busybox", "true", code=125)
    assert f"invalid tmpfs option {shown}" in out


def test_volumes_from(ketchd: Ketchd, name: str, tree: Path) -> None:
    donor = f"{name}-donor"
    ketchd.docker("create", "--name", donor, "-v", f"{tree}:/m", "-v", "/anonymous", "busybox")
    try:
        assert run(ketchd, "--volumes-from", donor, "busybox", "cat", "/m/file") == "data"
        script = "touch /m/x; touch /anonymous/x"
        out = run(ketchd, "--volumes-from", f"{donor}:ro", "busybox", "sh", "-c", script, code=1)
        assert out.count("Read-only file system") == 2
        out = run(ketchd, "--volumes-from", f"{donor}:bogus", "busybox", "true", code=125)
        assert "invalid mode" in out
        words = ("--pull", "never", "--volumes-from", "nobody", "busybox")
        assert "No such container: nobody" in run(ketchd, *words, code=125)
    finally:
        ketchd.docker("rm", "-v", donor)


def test_a_read_only_root(ketchd: Ketchd) -> None:
    script = "touch /x; touch /tmp/x; touch /dev/shm/x && echo shm"
    out = run(ketchd, "--read-only", "--tmpfs", "/run", "busybox", "sh", "-c", script)
    assert out.count("Read-only file system") == 2
    assert "shm" in out


def test_shm_size(ketchd: Ketchd) -> None:
    out = run(ketchd, "--shm-size", "5m", "busybox", "df", "-k", "/dev/shm")
    assert out.splitlines()[-1].split()[1] == "5120"
    assert os.path.isdir("/dev/shm")


def test_inspect_tells_what_was_asked(ketchd: Ketchd, name: str, tree: Path) -> None:
    ketchd.docker(
        "create", "--name", name, "--tmpfs", "/t:size=1m", "--mount", "type=tmpfs,dst=/u",
        "--mount", f"type=bind,src={tree},dst=/m,readonly,bind-recursive=writable", "busybox",
    )  # fmt: skip
    host = json.loads(ketchd.out("inspect", "-f", "{{json .HostConfig}}", name))
    assert host["Tmpfs"] == {"/t": "size=1m"}
    assert host["Mounts"] == [
        {"Type": "tmpfs", "Target": "/u"},
        {"Type": "bind", "Source": str(tree), "Target": "/m", "ReadOnly": True,
         "BindOptions": {"ReadOnlyNonRecursive": True}},
    ]  # fmt: skip
    ketchd.docker("rm", name)
