"""Every limit of ``docker run`` and ``docker update``, against the files of the kernel."""

from __future__ import annotations

import json
import os
import re
import signal
from pathlib import Path

import pytest

from e2e.ketchd_process import Ketchd, run, wait_for

pytestmark = pytest.mark.root

V1 = os.path.isdir("/sys/fs/cgroup/memory")
RT = os.path.exists("/sys/fs/cgroup/cpu/cpu.rt_runtime_us")
DISK = next((f"/dev/{name}" for name in sorted(os.listdir("/sys/block"), reverse=True)
             if os.path.exists(f"/dev/{name}") and not name.startswith(("loop", "zram", "ram"))),
            "")  # fmt: skip


@pytest.mark.skipif(not V1, reason="files of cgroup v1")
@pytest.mark.parametrize(
    ("words", "files"),
    [
        (("-m", "64m"), {"memory/memory.limit_in_bytes": "67108864",
                         "memory/memory.memsw.limit_in_bytes": "134217728"}),
        (("-m", "64m", "--memory-swap", "64m", "--memory-reservation", "32m"),
         {"memory/memory.memsw.limit_in_bytes": "67108864",
          "memory/memory.soft_limit_in_bytes": "33554432"}),
        (("-m", "64m", "--memory-swappiness", "0"), {"memory/memory.swappiness": "0"}),
        (("-m", "64m", "--oom-kill-disable"), {"memory/memory.oom_control": "oom_kill_disable 1"}),
        (("--cpus", "1.5"), {"cpu/cpu.cfs_quota_us": "150000", "cpu/cpu.cfs_period_us": "100000"}),
        (("--cpu-period", "50000", "--cpu-quota", "25000"),
         {"cpu/cpu.cfs_quota_us": "25000", "cpu/cpu.cfs_period_us": "50000"}),
        (("--cpu-shares", "512"), {"cpu/cpu.shares": "512"}),
        (("--cpuset-cpus", "0", "--cpuset-mems", "0"),
         {"cpuset/cpuset.cpus": "0", "cpuset/cpuset.mems": "0"}),
        (("--pids-limit", "77"), {"pids/pids.max": "77"}),
        (("--pids-limit", "-1"), {"pids/pids.max": "max"}),
        (("--device-read-bps", f"{DISK}:1mb", "--device-write-bps", f"{DISK}:2mb"),
         {"blkio/blkio.throttle.read_bps_device": "1048576",
          "blkio/blkio.throttle.write_bps_device": "2097152"}),
        (("--device-read-iops", f"{DISK}:100", "--device-write-iops", f"{DISK}:200"),
         {"blkio/blkio.throttle.read_iops_device": "100",
          "blkio/blkio.throttle.write_iops_device": "200"}),
    ],
)  # fmt: skip
def test_limits(ketchd: Ketchd, words: tuple[str, ...], files: dict[str, str]) -> None:
    if DISK == "" and "--device" in words[0]:
        pytest.skip("no disk")
    paths = [f"/sys/fs/cgroup/{path}" for path in files]
    out = run(ketchd, *words, "busybox", "cat", *paths)
    for value in files.values():
        assert re.search(rf"\b{value}$", out, re.MULTILINE), out


@pytest.mark.parametrize(
    ("words", "text"),
    [
        (("-m", "1m"), "Minimum memory limit allowed is 6MB"),
        (("--memory-swap", "64m"), "You should always set the Memory limit when using Memoryswap"),
        (("-m", "64m", "--memory-swap", "32m"), "Minimum memoryswap limit should be larger than"),
        (("-m", "64m", "--memory-reservation", "128m"), "can not be less than memory reservation"),
        (("--cpus", "1000"), "range of CPUs is from 0.01 to"),
        (("--cpus", "0.001"), "range of CPUs is from 0.01 to"),
        (("--cpus", "1", "--cpu-quota", "5000"), "Conflicting options: Nano CPUs and CPU Quota"),
        (("--cpu-period", "1"), "CPU cfs period can not be less than 1ms"),
        (("--cpu-quota", "5"), "CPU cfs quota can not be less than 1ms"),
        (
            ("--cpu-rt-period", "10", "--cpu-rt-runtime", "20"),
            "real-time runtime cannot be higher" if RT else "does not support CPU real-time",
        ),
        (("--cpuset-cpus", "4000"), "Requested CPUs are not available"),
        (("--cpuset-mems", "4000"), "Requested memory nodes are not available - requested 4000"),
        (("--cpuset-cpus", "x"), "Invalid value x for cpuset cpus"),
        (("--blkio-weight", "5"), "Range of blkio weight is from 10 to 1000"),
        (("--device-read-bps", "/dev/null:1mb"), "is no block device"),
        (("--ulimit", "bogus=1"), "invalid ulimit type: bogus"),
        (("--oom-score-adj", "2000"), "range for oom score adj is [-1000, 1000]"),
    ],
)
def test_refused(ketchd: Ketchd, words: tuple[str, ...], text: str) -> None:
    assert text in run(ketchd, *words, "busybox", "true", code=125)


def test_a_device_that_is_not_there(ketchd: Ketchd) -> None:
    """127 is docker's own word for a text that ends so."""
    words = ("--device-read-bps", "/dev/nothing:1mb", "busybox", "true")
    out = run(ketchd, *words, code=127)
    assert "block device /dev/nothing: no such file or directory" in out


def test_warnings(ketchd: Ketchd) -> None:
    out = run(ketchd, "--oom-kill-disable", "busybox", "true")
    no_limit = "OOM killer is disabled for the container, but no memory limit is set"
    assert (no_limit if V1 else "OomKillDisable discarded") in out


def test_ulimits(ketchd: Ketchd) -> None:
    words = ("--ulimit", "nofile=123:456", "--ulimit", "core=0", "--ulimit", "nproc=50")
    out = run(ketchd, *words, "busybox", "cat", "/proc/self/limits")
    assert re.search(r"Max open files +123 +456 ", out)
    assert re.search(r"Max core file size +0 +0 ", out)
    assert re.search(r"Max processes +50 +50 ", out)


def test_exec_has_the_limits_of_run(ketchd: Ketchd, name: str) -> None:
    words = ("--ulimit", "nofile=123:456", "--oom-score-adj", "321", "busybox", "sleep", "600")
    ketchd.docker("run", "-d", "--name", name, *words)
    out = ketchd.out("exec", name, "cat", "/proc/self/limits", "/proc/self/oom_score_adj")
    assert re.search(r"Max open files +123 +456 ", out)
    assert out.splitlines()[-1] == "321"
    for _ in range(10):  # the program may be quicker than its parent
        assert ketchd.out("exec", name, "cat", "/proc/self/oom_score_adj") == "321"


def test_oom(ketchd: Ketchd, name: str) -> None:
    words = ("--name", name, "-m", "16m", "--memory-swap", "16m", "--oom-score-adj", "500")
    script = "cat /proc/self/oom_score_adj; exec tail /dev/zero"
    done = ketchd.docker("run", *words, "busybox", "sh", "-c", script, code=137)
    assert done.stdout.strip() == b"500"
    assert ketchd.out("inspect", "-f", "{{.State.OOMKilled}}", name) == "true"


@pytest.mark.skipif(not V1, reason="files of cgroup v1")
def test_update(ketchd: Ketchd, name: str) -> None:
    words = ("-m", "64m", "--memory-swap", "64m", "--pids-limit", "50")
    ketchd.docker("run", "-d", "--name", name, *words, "busybox", "sleep", "600")
    ketchd.docker(
        "update", "-m", "96m", "--memory-swap", "128m", "--memory-reservation", "32m",
        "--cpu-shares", "99", "--cpus", "0.5", "--cpuset-cpus", "0", "--pids-limit", "-1",
        "--restart", "on-failure:3", name,
    )  # fmt: skip
    paths = [
        "memory/memory.limit_in_bytes",
        "memory/memory.memsw.limit_in_bytes",
        "memory/memory.soft_limit_in_bytes",
        "cpu/cpu.shares",
        "cpu/cpu.cfs_quota_us",
        "cpuset/cpuset.cpus",
        "pids/pids.max",
    ]
    out = ketchd.out("exec", name, "cat", *(f"/sys/fs/cgroup/{path}" for path in paths))
    assert out.split() == ["100663296", "134217728", "33554432", "99", "50000", "0", "max"]
    host = json.loads(ketchd.out("inspect", "-f", "{{json .HostConfig}}", name))
    assert (host["Memory"], host["MemorySwap"], host["PidsLimit"]) == (96 << 20, 128 << 20, 0)
    assert (host["CpuShares"], host["NanoCpus"], host["CpusetCpus"]) == (99, 500_000_000, "0")
    assert host["RestartPolicy"] == {"Name": "on-failure", "MaximumRetryCount": 3}


@pytest.mark.parametrize(
    ("words", "change", "text"),
    [
        (("-m", "64m", "--memory-swap", "64m"), ("-m", "128m"),
         "Memory limit should be smaller than already set memoryswap limit"),
        (("--cpus", "1"), ("--cpu-quota", "5000"),
         "Conflicting options: CPU Quota cannot be updated as NanoCPUs has already been set"),
        (("--cpu-quota", "5000"), ("--cpus", "1"),
         "Conflicting options: NanoCPUs cannot be updated as CPU Quota has already been set"),
        (("--cpu-period", "5000"), ("--cpus", "1"),
         "Conflicting options: NanoCPUs cannot be updated as CPU Period has already been set"),
        ((), ("-m", "1m"), "Minimum memory limit allowed is 6MB"),
        (("--rm",), ("--restart", "always"),
         "Restart policy cannot be updated because AutoRemove is enabled for the container"),
        ((), ("--restart", "bogus"), "invalid restart policy"),
    ],
)  # fmt: skip
def test_updates_in_conflict(
    ketchd: Ketchd, name: str, words: tuple[str, ...], change: tuple[str, ...], text: str
) -> None:
    ketchd.docker("create", "--name", name, *words, "busybox")
    before = ketchd.out("inspect", "-f", "{{json .HostConfig}}", name)
    assert text in ketchd.docker("update", *change, name, code=1).stderr.decode()
    assert ketchd.out("inspect", "-f", "{{json .HostConfig}}", name) == before


def test_a_cgroup_parent(ketchd: Ketchd, name: str) -> None:
    parent = f"{ketchd.cgroup}/inner"
    ketchd.docker("run", "-d", "--name", name, "--cgroup-parent", parent, "busybox", "sleep", "600")
    pid, identity = ketchd.out("inspect", "-f", "{{.State.Pid}} {{.Id}}", name).split()
    lines = Path(f"/proc/{pid}/cgroup").read_text().splitlines()
    assert all(f"{parent}/" in line for line in lines)
    assert any(line.endswith(f"{parent}/{identity}") for line in lines)
    ketchd.docker("rm", "-f", name)
    remove_empty(parent)
    out = run(ketchd, "--cgroup-parent", "/a/../b", "busybox", "true", code=125)
    assert "invalid cgroup parent" in out


def test_a_cgroup_parent_below_the_daemons(ketchd: Ketchd, name: str) -> None:
    """A new daemon sweeps what nobody names: not what runs below a parent of its own."""
    parent, stopped = f"{ketchd.cgroup}/inner", f"{name}-stopped"
    words = ("--cgroup-parent", parent[1:], "busybox", "sleep", "600")  # it is absolute anyway
    ketchd.docker("run", "-d", "--name", name, *words)
    ketchd.docker("create", "--name", stopped, *words)
    left = Path(f"/sys/fs/cgroup/pids{parent}", ketchd.out("inspect", "-f", "{{.Id}}", stopped))
    if V1:
        left.mkdir()  # what a shim that was killed leaves
    ketchd.stop(signal.SIGKILL)
    ketchd.start()
    assert ketchd.out("inspect", "-f", "{{.State.Status}}", name) == "running"
    assert ketchd.out("exec", name, "echo", "alive") == "alive"
    assert not left.exists()
    ketchd.docker("rm", "-f", name, stopped)
    remove_empty(parent)


def remove_empty(parent: str) -> None:
    """A group that a container asked for, where nothing may be left; on each hierarchy."""
    for inner in (Path(f"/sys/fs/cgroup{parent}"), *Path("/sys/fs/cgroup").glob(f"*{parent}")):
        if inner.is_dir():
            wait_for(lambda inner=inner: not [x for x in inner.iterdir() if x.is_dir()], "it stays")
            inner.rmdir()


def test_devices(ketchd: Ketchd, tmp_path: Path) -> None:
    script = "stat -c '%t:%T' /dev/mine; echo x > /dev/mine && echo written; cat /dev/mine"
    words = ("--device", "/dev/null:/dev/mine")
    assert run(ketchd, *words, "busybox", "sh", "-c", script) == "1:3\nwritten"
    out = run(ketchd, "--device", "/dev/loop0:/dev/mine:r", "busybox", "sh", "-c",
              "head -c1 /dev/mine | wc -c; echo > /dev/mine", code=1)  # fmt: skip
    assert "Operation not permitted" in out
    folder = tmp_path / "devices"
    folder.mkdir()
    os.mknod(folder / "one", 0o020666, os.makedev(1, 5))
    os.mknod(folder / "two", 0o020666, os.makedev(1, 7))
    out = run(ketchd, "--device", f"{folder}:/dev/many", "busybox", "ls", "/dev/many")
    assert out.split() == ["one", "two"]
    rate = ("--device-read-bps", "/dev/nothing:1mb")
    missing = "block device /dev/nothing: no such file or directory"
    assert missing in run(ketchd, *rate, "busybox", "true", code=127)
    out = run(ketchd, "--device", "/dev/nothing", "busybox", "true", code=127)
    assert 'error gathering device information while adding custom device "/dev/nothing"' in out


def test_device_rules(ketchd: Ketchd) -> None:
    script = "mknod /tmp/l b 7 0 && head -c0 /tmp/l && echo opened"
    assert run(ketchd, "--device-cgroup-rule", "b 7:* rmw", "busybox", "sh", "-c", script) == (
        "opened"
    )
    assert "not permitted" in run(ketchd, "busybox", "sh", "-c", script, code=1)


@pytest.mark.skipif(not RT, reason="no real-time groups")
def test_realtime(ketchd: Ketchd) -> None:
    """Of what the daemon's cgroup has: see the flags of the session's daemon."""
    words = ("--cpu-rt-period", "100000", "--cpu-rt-runtime", "1000")
    script = "cd /sys/fs/cgroup/cpu; cat cpu.rt_period_us cpu.rt_runtime_us"
    assert run(ketchd, *words, "busybox", "sh", "-c", script).split() == ["100000", "1000"]
    words = ("--cpu-rt-runtime", "900000")
    out = run(ketchd, *words, "busybox", "true", code=125)
    assert "cpu.realtimeRuntime = 900000" in out
