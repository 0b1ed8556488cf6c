"""A running container's cgroups: freezing, limits and counters, on v1, hybrid and v2.

``ContainerState.cgroup`` maps a controller to the path below its hierarchy; the empty controller
name is the unified hierarchy (v2).
"""

from __future__ import annotations

import asyncio
import errno
import os

from ketch.engine.model import Resources
from ketch.errors import KetchError

ROOT = "/sys/fs/cgroup"
_FREEZE_TRIES = 200
_FREEZE_PAUSE = 0.005


def directory(cgroup: dict[str, str], controller: str) -> str:
    """The directory of a controller (v1) or of the unified hierarchy; "" when there is none."""
    if controller in cgroup:
        return f"{ROOT}/{controller}/{cgroup[controller].lstrip('/')}"
    if "" in cgroup:
        return unified(cgroup)
    return ""


def unified(cgroup: dict[str, str]) -> str:
    """The directory in the unified hierarchy, which hybrid systems mount one level down."""
    base = ROOT if os.path.exists(f"{ROOT}/cgroup.controllers") else f"{ROOT}/unified"
    return f"{base}/{cgroup[''].lstrip('/')}"


async def freeze(cgroup: dict[str, str], frozen: bool) -> None:
    """Freeze or thaw and wait until it is so; raises ``KetchError`` when it can't be done."""
    if "freezer" in cgroup:
        path, value = f"{directory(cgroup, 'freezer')}/freezer.state", ("THAWED", "FROZEN")[frozen]
        check_path, check = path, value
    else:
        path, value = f"{directory(cgroup, '')}/cgroup.freeze", str(int(frozen))
        check_path, check = f"{directory(cgroup, '')}/cgroup.events", f"frozen {int(frozen)}"
    for _ in range(_FREEZE_TRIES):
        _write(path, value)
        if check in _read(check_path):
            return
        await asyncio.sleep(_FREEZE_PAUSE)
    if frozen:
        _write(path, "THAWED" if "freezer" in cgroup else "0")
    raise KetchError(f"the container did not {'freeze' if frozen else 'thaw'} within a second")


def processes(cgroup: dict[str, str]) -> list[int]:
    """PIDs (of the daemon's namespace) in the container's cgroup and those below it."""
    top = directory(cgroup, "freezer") or directory(cgroup, "pids") or directory(cgroup, "memory")
    pids: list[int] = []
    for folder, _, _ in os.walk(top):
        pids += [int(line) for line in _read(f"{folder}/cgroup.procs").split()]
    return sorted(set(pids))


def update(cgroup: dict[str, str], resources: Resources) -> None:
    """Write the limits of ``resources`` that are set; raises ``KetchError`` naming the file."""
    on_v1 = "memory" in cgroup
    for controller, name, value in (_v1_limits if on_v1 else _v2_limits)(cgroup, resources):
        folder = directory(cgroup, controller)
        if not folder:
            raise KetchError(f"cannot set {name}: this machine has no {controller} controller")
        _write(f"{folder}/{name}", value)


Limit = tuple[str, str, str]


def _v1_limits(cgroup: dict[str, str], resources: Resources) -> list[Limit]:
    limits = [
        ("memory", "memory.soft_limit_in_bytes", resources.memory_reservation),
        ("cpu", "cpu.shares", resources.cpu_shares),
        ("cpu", "cpu.cfs_period_us", _period(resources)),
        ("cpu", "cpu.cfs_quota_us", _quota(resources)),
        ("cpuset", "cpuset.cpus", resources.cpuset_cpus),
        ("cpuset", "cpuset.mems", resources.cpuset_mems),
        ("blkio", "blkio.weight", resources.blkio_weight),
    ]
    return [
        *_v1_memory(cgroup, resources),
        *((group, name, str(value)) for group, name, value in limits if value),
        *_pids(resources),
    ]


def _v1_memory(cgroup: dict[str, str], resources: Resources) -> list[Limit]:
    """The two memory limits in the order that keeps memory below memory+swap all the time."""
    limits: list[Limit] = []
    folder = directory(cgroup, "memory")
    if resources.memory:
        limits.append(("memory", "memory.limit_in_bytes", str(resources.memory)))
    if resources.memory_swap and os.path.exists(f"{folder}/memory.memsw.limit_in_bytes"):
        limits.append(("memory", "memory.memsw.limit_in_bytes", str(resources.memory_swap)))
        now = int(_read(f"{folder}/memory.memsw.limit_in_bytes") or 0)
        if resources.memory_swap == -1 or resources.memory_swap > now:
            limits.reverse()
    return limits


def _v2_limits(cgroup: dict[str, str], resources: Resources) -> list[Limit]:
    limits: list[Limit] = []
    if resources.memory:
        limits.append(("", "memory.max", str(resources.memory)))
    if resources.memory_swap:
        extra = resources.memory_swap - resources.memory
        limits.append(("", "memory.swap.max", "max" if resources.memory_swap < 0 else str(extra)))
    if resources.memory_reservation:
        limits.append(("", "memory.low", str(resources.memory_reservation)))
    if resources.cpu_shares:
        weight = 1 + (resources.cpu_shares - 2) * 9999 // 262142
        limits.append(("", "cpu.weight", str(max(1, weight))))
    if quota := _quota(resources):
        limits.append(("", "cpu.max", f"{quota if quota > 0 else 'max'} {_period(resources)}"))
    for name in ("cpuset_cpus", "cpuset_mems"):
        if value := getattr(resources, name):
            limits.append(("", name.replace("_", "."), value))
    if resources.blkio_weight:
        limits.append(("", "io.bfq.weight", str(resources.blkio_weight)))
    return [*limits, *_pids(resources)]


def _pids(resources: Resources) -> list[Limit]:
    if not resources.pids_limit:
        return []
    return [("pids", "pids.max", str(resources.pids_limit) if resources.pids_limit > 0 else "max")]


def _period(resources: Resources) -> int:
    return resources.cpu_period or (100_000 if _quota(resources) else 0)


def _quota(resources: Resources) -> int:
    return resources.cpu_quota or resources.nano_cpus * 100_000 // 1_000_000_000


def _read(path: str) -> str:
    try:
        with open(path) as file:
            return file.read()
    except OSError:
        return ""


def _write(path: str, value: str) -> None:
    try:
        with open(path, "w") as file:
            file.write(value)
    except OSError as error:
        reason = "is in use" if error.errno == errno.EBUSY else error.strerror
        raise KetchError(f"writing {value} to {path}: {reason}") from None
