"""Limits and actions on cgroup v2 directories (Documentation/admin-guide/cgroup-v2.rst)."""

import os
import time

from ketch.errors import Unsupported
from ketch.runtime.cgroups import files

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# (section, key) of OCI linux.resources -> (controller, file): copied as they are.
PLAIN = {
    ("memory", "reservation"): ("memory", "memory.low"),
    ("cpu", "burst"): ("cpu", "cpu.max.burst"),
    ("cpu", "idle"): ("cpu", "cpu.idle"),
    ("cpu", "cpus"): ("cpuset", "cpuset.cpus"),
    ("cpu", "mems"): ("cpuset", "cpuset.mems"),
}
THROTTLES = {
    "throttleReadBpsDevice": "rbps",
    "throttleWriteBpsDevice": "wbps",
    "throttleReadIOPSDevice": "riops",
    "throttleWriteIOPSDevice": "wiops",
}


def weight_of_shares(shares: int) -> int:
    """cpu.weight (1-10000) of v1's cpu.shares (2-262144), linearly as the kernel docs map them."""
    shares = min(max(shares, 2), 262144)
    return 1 + (shares - 2) * 9999 // 262142


def apply(directory: str, resources: "dict[str, Any]") -> None:
    """Write what OCI ``linux.resources`` asks for; raises ``Unsupported`` naming the option."""
    for (section, key), (_, name) in PLAIN.items():
        value = (resources.get(section) or {}).get(key)
        if value not in (None, 0, ""):
            files.set_limit(directory, name, str(value), f"{section}.{key}")
    _apply_memory(directory, resources.get("memory") or {})
    _apply_cpu(directory, resources.get("cpu") or {})
    _apply_block_io(directory, resources.get("blockIO") or {})
    if any((resources.get("network") or {}).values()):
        raise Unsupported("network.classID and network.priorities do not exist on cgroup v2")
    limit = (resources.get("pids") or {}).get("limit")
    if limit:
        files.set_limit(directory, "pids.max", str(limit) if limit > 0 else "max", "pids.limit")
    for page in resources.get("hugepageLimits") or ():
        name = f"hugetlb.{page['pageSize']}.max"
        files.set_limit(directory, name, str(page["limit"]), "hugepageLimits")
    for name, value in (resources.get("unified") or {}).items():
        if "/" in name or not name:
            raise Unsupported(f"unified resource {name!r} is no file name")
        files.set_limit(directory, name, value, f"unified {name}")


def _apply_memory(directory: str, memory: "dict[str, Any]") -> None:
    limit, swap = memory.get("limit"), memory.get("swap")
    if limit:
        value = str(limit) if limit > 0 else "max"
        files.set_limit(directory, "memory.max", value, "memory.limit")
    if swap:
        # OCI counts memory + swap, v2 counts swap alone.
        if swap > 0 and not limit:
            raise Unsupported("memory.swap needs memory.limit on cgroup v2")
        value = str(swap - limit) if swap > 0 else "max"
        files.set_limit(directory, "memory.swap.max", value, "memory.swap")
    if memory.get("kernelTCP"):
        raise Unsupported("memory.kernelTCP does not exist on cgroup v2")
    if memory.get("disableOOMKiller"):
        raise Unsupported("memory.disableOOMKiller does not exist on cgroup v2")
    if memory.get("swappiness") is not None:  # 0 means something too
        raise Unsupported("memory.swappiness does not exist on cgroup v2")


def _apply_cpu(directory: str, cpu: "dict[str, Any]") -> None:
    if cpu.get("shares"):
        weight = str(weight_of_shares(cpu["shares"]))
        files.set_limit(directory, "cpu.weight", weight, "cpu.shares")
    quota, period = cpu.get("quota"), cpu.get("period")
    if quota or period:
        value = f"{quota if quota and quota > 0 else 'max'} {period or 100000}"
        files.set_limit(directory, "cpu.max", value, "cpu.quota")
    for key in ("realtimePeriod", "realtimeRuntime"):
        if cpu.get(key):
            raise Unsupported(f"cpu.{key} does not exist on cgroup v2")


def _apply_block_io(directory: str, block: "dict[str, Any]") -> None:
    if block.get("weight"):
        name = "io.bfq.weight"
        value = str(block["weight"])
        if not os.path.exists(f"{directory}/{name}"):
            # io.weight runs from 1 to 10000 where blkio.weight ran from 10 to 1000.
            name, value = "io.weight", str(1 + (block["weight"] - 10) * 9999 // 990)
        files.set_limit(directory, name, value, "blockIO.weight")
    for device in block.get("weightDevice") or ():
        name, weight = "io.bfq.weight", int(device["weight"])
        if not os.path.exists(f"{directory}/{name}"):
            name, weight = "io.weight", 1 + (weight - 10) * 9999 // 990
        line = f"{device['major']}:{device['minor']} {weight}"
        files.set_limit(directory, name, line, "blockIO.weightDevice")
    for key, word in THROTTLES.items():
        for device in block.get(key) or ():
            line = f"{device['major']}:{device['minor']} {word}={device['rate']}"
            files.set_limit(directory, "io.max", line, f"blockIO.{key}")


def enable_controllers(mount: str, parent: str) -> None:
    """Delegate all available controllers from ``mount`` down to ``parent`` (subtree_control)."""
    directory = mount
    for name in ["", *[part for part in parent.split("/") if part]]:
        directory = f"{directory}/{name}" if name else directory
        available = set(files.read(directory, "cgroup.controllers").split())
        missing = available - set(files.read(directory, "cgroup.subtree_control").split())
        for controller in sorted(missing):
            try:
                files.write(directory, "cgroup.subtree_control", f"+{controller}")
            except OSError:
                continue  # said when a limit of that controller is asked for


def freeze(directory: str, frozen: bool, timeout: float = 5.0) -> None:
    """Set cgroup.freeze and wait for cgroup.events to agree; raises TimeoutError."""
    files.write(directory, "cgroup.freeze", str(int(frozen)))
    deadline = time.monotonic() + timeout
    while files.read_keyed(directory, "cgroup.events", "frozen") != int(frozen):
        if time.monotonic() > deadline:
            files.write(directory, "cgroup.freeze", "0")
            raise TimeoutError(f"the kernel could not freeze {directory} in {timeout:g} s")
        time.sleep(0.001)


def oom_kills(directory: str) -> int:
    """How many processes the kernel killed for want of memory."""
    return files.read_keyed(directory, "memory.events", "oom_kill")
