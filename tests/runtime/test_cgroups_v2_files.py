"""What is written for each limit on cgroup v2: a directory with its files stands for the kernel."""

from __future__ import annotations

from pathlib import Path
from typing import Any

import pytest

from ketch.errors import Unsupported
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.cgroups.hierarchy import Hierarchy

FILES = str.split(
    "memory.max memory.low memory.swap.max cpu.weight cpu.max cpuset.cpus cpuset.mems io.weight "
    "io.max pids.max"
)


@pytest.fixture
def group(tmp_path: Path) -> Cgroup:
    folder = tmp_path / "ketch" / "c1"
    folder.mkdir(parents=True)
    for name in FILES:
        (folder / name).touch()
    controllers = ("cpuset", "cpu", "io", "memory", "pids")
    return Cgroup("/ketch", "c1", (Hierarchy(2, str(tmp_path), controllers),))


@pytest.mark.parametrize(
    ("resources", "written"),
    [
        ({"memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20}},
         {"memory.max": "67108864", "memory.swap.max": "33554432", "memory.low": "33554432"}),
        ({"memory": {"limit": 64 << 20, "swap": -1}}, {"memory.swap.max": "max"}),
        ({"memory": {"limit": 64 << 20, "swap": 64 << 20}}, {"memory.swap.max": "0"}),
        ({"cpu": {"shares": 1024}}, {"cpu.weight": "39"}),
        ({"cpu": {"quota": 150000, "period": 100000}}, {"cpu.max": "150000 100000"}),
        ({"cpu": {"quota": -1}}, {"cpu.max": "max 100000"}),
        ({"cpu": {"cpus": "0-1", "mems": "0"}}, {"cpuset.cpus": "0-1", "cpuset.mems": "0"}),
        ({"pids": {"limit": 20}}, {"pids.max": "20"}),
        ({"pids": {"limit": -1}}, {"pids.max": "max"}),
        ({"blockIO": {"weight": 10}}, {"io.weight": "1"}),
        ({"blockIO": {"weight": 1000}}, {"io.weight": "10000"}),
        ({"blockIO": {"weightDevice": [{"major": 8, "minor": 0, "weight": 500}]}},
         {"io.weight": "8:0 4950"}),
        ({"blockIO": {"throttleReadBpsDevice": [{"major": 8, "minor": 0, "rate": 1 << 20}]}},
         {"io.max": "8:0 rbps=1048576"}),
        ({"blockIO": {"throttleWriteIOPSDevice": [{"major": 8, "minor": 16, "rate": 50}]}},
         {"io.max": "8:16 wiops=50"}),
    ],
)  # fmt: skip
def test_written(group: Cgroup, resources: dict[str, Any], written: dict[str, str]) -> None:
    group.apply(resources)
    folder = Path(group.directory(group.hierarchies[0]))
    assert {name: (folder / name).read_text() for name in written} == written


@pytest.mark.parametrize(
    ("resources", "named"),
    [
        ({"network": {"classID": 5}}, "classID"),
        ({"memory": {"kernelTCP": 1 << 20}}, "kernelTCP"),
        ({"memory": {"swappiness": 0}}, "swappiness"),
        ({"memory": {"disableOOMKiller": True}}, "disableOOMKiller"),
        ({"memory": {"swap": 1 << 20}}, "memory.swap needs memory.limit"),
        ({"cpu": {"realtimeRuntime": 1000}}, "realtimeRuntime"),
    ],
)
def test_what_v2_has_not(group: Cgroup, resources: dict[str, Any], named: str) -> None:
    with pytest.raises(Unsupported, match=named):
        group.apply(resources)
