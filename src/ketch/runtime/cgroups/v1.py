"""Limits and actions on cgroup v1 directories (Documentation/admin-guide/cgroup-v1)."""

import os
import time

from ketch.runtime.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# (section, key) of OCI linux.resources -> (controller, file): numbers and words copied as they are.
PLAIN = {
    ("memory", "reservation"): ("memory", "memory.soft_limit_in_bytes"),
    ("memory", "kernelTCP"): ("memory", "memory.kmem.tcp.limit_in_bytes"),
    ("cpu", "shares"): ("cpu", "cpu.shares"),
    ("cpu", "period"): ("cpu", "cpu.cfs_period_us"),
    ("cpu", "quota"): ("cpu", "cpu.cfs_quota_us"),
    ("cpu", "burst"): ("cpu", "cpu.cfs_burst_us"),
    ("cpu", "idle"): ("cpu", "cpu.idle"),
    ("cpu", "realtimePeriod"): ("cpu", "cpu.rt_period_us"),
    ("cpu", "realtimeRuntime"): ("cpu", "cpu.rt_runtime_us"),
    ("cpu", "cpus"): ("cpuset", "cpuset.cpus"),
    ("cpu", "mems"): ("cpuset", "cpuset.mems"),
    ("network", "classID"): ("net_cls", "net_cls.classid"),
}
THROTTLES = {
    "throttleReadBpsDevice": "blkio.throttle.read_bps_device",
    "throttleWriteBpsDevice": "blkio.throttle.write_bps_device",
    "throttleReadIOPSDevice": "blkio.throttle.read_iops_device",
    "throttleWriteIOPSDevice": "blkio.throttle.write_iops_device",
}
# Keys of the memory section that ``apply_memory`` handles.
MEMORY = frozenset(("limit", "swap", "disableOOMKiller", "swappiness"))


def apply_memory(directory: str, memory: "dict[str, Any]") -> None:
    """Limit and limit + swap: the second may never be below the first, at any instant."""
    limit, swap = memory.get("limit"), memory.get("swap")
    steps = []
    if limit:
        steps.append(("memory.limit_in_bytes", limit, "memory.limit"))
    if swap:
        steps.append(("memory.memsw.limit_in_bytes", swap, "memory.swap"))
    if limit and swap and _grows(directory, swap):
        steps.reverse()
    for name, value, option in steps:
        files.set_limit(directory, name, str(value), option)
    if memory.get("disableOOMKiller"):
        files.set_limit(directory, "memory.oom_control", "1", "memory.disableOOMKiller")
    if memory.get("swappiness") is not None:  # 0 means something here
        value = str(memory["swappiness"])
        files.set_limit(directory, "memory.swappiness", value, "memory.swappiness")


def _grows(directory: str, swap: int) -> bool:
    try:
        present = int(files.read(directory, "memory.memsw.limit_in_bytes"))
    except OSError:
        return False
    return swap < 0 or swap > present


def apply_block_io(directory: str, block: "dict[str, Any]") -> None:
    """Weight and throttles; devices are {major, minor, rate}."""
    if block.get("weight"):
        name = "blkio.bfq.weight"
        if not os.path.exists(f"{directory}/{name}"):
            name = "blkio.weight"
        files.set_limit(directory, name, str(block["weight"]), "blockIO.weight")
    for device in block.get("weightDevice") or ():
        name = "blkio.bfq.weight_device"
        if not os.path.exists(f"{directory}/{name}"):
            name = "blkio.weight_device"
        line = f"{device['major']}:{device['minor']} {device['weight']}"
        files.set_limit(directory, name, line, "blockIO.weightDevice")
    for key, name in THROTTLES.items():
        for device in block.get(key) or ():
            line = f"{device['major']}:{device['minor']} {device['rate']}"
            files.set_limit(directory, name, line, f"blockIO.{key}")


def inherit_cpuset(directory: str) -> None:
    """A new v1 cpuset is empty and accepts nobody: copy CPUs and memory nodes from its parent.

    The parent may be new itself, made by us or by somebody who has not come to fill it yet.
    """
    for name in ("cpuset.cpus", "cpuset.mems"):
        _inherit(directory, name)


def _inherit(directory: str, name: str) -> str:
    value = files.read(directory, name)
    if not value:
        value = _inherit(os.path.dirname(directory), name)
        files.write(directory, name, value)
    return value


def freeze(directory: str, frozen: bool, timeout: float = 5.0) -> None:
    """Set freezer.state and wait until the kernel says so; raises TimeoutError."""
    wanted = "FROZEN" if frozen else "THAWED"
    deadline = time.monotonic() + timeout
    while True:
        files.write(directory, "freezer.state", wanted)
        if files.read(directory, "freezer.state") == wanted:
            return
        if time.monotonic() > deadline:
            files.write(directory, "freezer.state", "THAWED")
            raise TimeoutError(f"the kernel could not freeze {directory} in {timeout:g} s")
        time.sleep(0.001)


def oom_kills(directory: str) -> int:
    """How many processes of this cgroup the kernel killed for want of memory (Linux 4.13)."""
    return files.read_keyed(directory, "memory.oom_control", "oom_kill")
