"""Limits that a kernel lacks are discarded with Docker's warnings."""

from __future__ import annotations

from pathlib import Path

import pytest

from ketch.engine.containers.limits import DeviceRate, Resources, Ulimit
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.spec.kernel import LIMITS, Kernel, beyond_this_process, fitted, look
from ketch.runtime.cgroups.hierarchy import Hierarchy

RATE = (DeviceRate(path="/dev/vda", value=100),)
ALL = Resources(
    memory=1 << 26, memory_swap=1 << 27, memory_reservation=1 << 25, memory_swappiness=0,
    oom_kill_disable=True, pids_limit=5, cpu_shares=5, cpu_period=1000, cpu_quota=1000,
    cpuset_cpus="0", blkio_weight=10, blkio_weight_devices=RATE, blkio_read_bps=RATE,
    blkio_write_bps=RATE, blkio_read_iops=RATE, blkio_write_iops=RATE,
)  # fmt: skip


def test_without_any_hierarchy_everything_goes() -> None:
    kernel = look(())
    kept, warnings = fitted(ALL, kernel)
    assert kept == Resources()
    assert not kernel.realtime
    assert not kernel.quota
    assert len(warnings) == len(LIMITS) - 1  # swap goes with memory
    assert all("discarded" in warning for warning in warnings)
    assert fitted(Resources(memory_swap=-1), kernel)[1] == ()
    assert fitted(Resources(), kernel) == (Resources(), ())


def test_a_kernel_that_has_them_all() -> None:
    assert fitted(ALL, Kernel()) == (ALL, ())


def test_v1_files_decide(tmp_path: Path) -> None:
    memory, blkio = tmp_path / "memory", tmp_path / "blkio"
    for folder, names in (
        (memory, ("memory.limit_in_bytes", "memory.swappiness")),
        (blkio / "child", ("blkio.bfq.weight",)),
    ):
        folder.mkdir(parents=True)
        for name in names:
            (folder / name).touch()
    trees = (Hierarchy(1, str(memory), ("memory",)), Hierarchy(1, str(blkio), ("blkio",)))
    kept, warnings = fitted(ALL, look(trees))
    assert kept == Resources(memory=1 << 26, memory_swappiness=0, blkio_weight=10)
    assert (
        "Your kernel does not support swap limit capabilities or the cgroup is not mounted. "
        "Memory limited without swap."
    ) in warnings


def test_v2_has_its_own_set(tmp_path: Path) -> None:
    (tmp_path / "child").mkdir()
    controllers = ("cpuset", "cpu", "io", "memory", "pids")
    kernel = look((Hierarchy(2, str(tmp_path), controllers),))
    lost = {field for limit in kernel.missing for field in limit.fields}
    assert lost == {
        "memory_swappiness", "oom_kill_disable", "blkio_weight", "blkio_weight_devices"
    }  # fmt: skip
    assert not kernel.realtime
    (tmp_path / "child" / "io.weight").touch()
    kernel = look((Hierarchy(2, str(tmp_path), controllers),))
    assert {field for limit in kernel.missing for field in limit.fields} == {
        "memory_swappiness", "oom_kill_disable"
    }  # fmt: skip


@pytest.mark.parametrize(
    ("spec", "named"),
    [
        (ContainerSpec(image="x", oom_score_adj=-1), "oom score"),
        (ContainerSpec(image="x", resources=Resources(
            ulimits=(Ulimit(name="nofile", soft=1, hard=-1),))), "nofile above 1000"),
        (ContainerSpec(image="x", oom_score_adj=5, resources=Resources(
            ulimits=(Ulimit(name="nofile", soft=1, hard=1000),))), ""),
    ],
)  # fmt: skip
def test_what_this_process_cannot_give(spec: ContainerSpec, named: str) -> None:
    found = list(beyond_this_process(spec, {"nofile": 1000}))
    assert bool(found) == bool(named)
    assert all(named in warning for warning in found)
