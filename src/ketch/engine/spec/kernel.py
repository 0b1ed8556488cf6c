"""Limits that this machine's kernel cannot keep: discarded with a warning, as Docker does.

The sentences are Docker's (clients and users search for them). Which limits there are is told by
the files of the cgroup hierarchies; ``Kernel()`` is a kernel that has them all.
"""

from __future__ import annotations

import os
import resource
from collections.abc import Iterator, Sequence

import msgspec

from ketch.engine.containers.limits import Resources
from ketch.engine.containers.spec import ContainerSpec
from ketch.linux import capabilities
from ketch.runtime.cgroups.hierarchy import Hierarchy

_LIMIT = "capabilities or the cgroup is not mounted. Limitation discarded."
_BLOCK = "or the cgroup is not mounted. Block I/O"


class Limit(msgspec.Struct, frozen=True):
    """One ability: the fields of ``Resources`` that need it, and the warning without it.

    ``v1`` names controller and file; ``v2`` the controller, empty when v2 has nothing like it.
    """

    fields: tuple[str, ...]
    v1: tuple[str, str]
    v2: str
    warning: str


_MEMORY = Limit(
    ("memory", "memory_swap"), ("memory", "memory.limit_in_bytes"), "memory",
    f"Your kernel does not support memory limit {_LIMIT}",
)  # fmt: skip
_SWAP = Limit(
    ("memory_swap",), ("memory", "memory.memsw.limit_in_bytes"), "memory",
    "Your kernel does not support swap limit capabilities or the cgroup is not mounted. Memory "
    "limited without swap.",
)  # fmt: skip
LIMITS = (
    _MEMORY,
    _SWAP,
    Limit(
        ("memory_swappiness",), ("memory", "memory.swappiness"), "",
        "Your kernel does not support memory swappiness capabilities or the cgroup is not mounted. "
        "Memory swappiness discarded.",
    ),
    Limit(
        ("memory_reservation",), ("memory", "memory.soft_limit_in_bytes"), "memory",
        f"Your kernel does not support memory soft limit {_LIMIT}",
    ),
    Limit(
        ("oom_kill_disable",), ("memory", "memory.oom_control"), "",
        "Your kernel does not support OomKillDisable. OomKillDisable discarded.",
    ),
    Limit(
        ("pids_limit",), ("pids", ""), "pids",
        "Your kernel does not support PIDs limit capabilities or the cgroup is not mounted. PIDs "
        "limit discarded.",
    ),
    Limit(
        ("cpu_shares",), ("cpu", "cpu.shares"), "cpu",
        "Your kernel does not support CPU shares or the cgroup is not mounted. Shares discarded.",
    ),
    Limit(
        ("cpu_period", "cpu_quota"), ("cpu", "cpu.cfs_quota_us"), "cpu",
        "Your kernel does not support CPU CFS scheduler. CPU period/quota discarded.",
    ),
    Limit(
        ("cpuset_cpus", "cpuset_mems"), ("cpuset", "cpuset.cpus"), "cpuset",
        "Your kernel does not support cpuset or the cgroup is not mounted. Cpuset discarded.",
    ),
    Limit(
        ("blkio_weight",), ("blkio", "blkio.weight blkio.bfq.weight"), "io.weight io.bfq.weight",
        "Your kernel does not support Block I/O weight or the cgroup is not mounted. Weight "
        "discarded.",
    ),
    Limit(
        ("blkio_weight_devices",), ("blkio", "blkio.weight_device blkio.bfq.weight_device"),
        "io.weight io.bfq.weight",
        "Your kernel does not support Block I/O weight_device or the cgroup is not mounted. "
        "Weight-device discarded.",
    ),
    Limit(
        ("blkio_read_bps",), ("blkio", "blkio.throttle.read_bps_device"), "io",
        f"Your kernel does not support BPS Block I/O read limit {_BLOCK} BPS read limit discarded.",
    ),
    Limit(
        ("blkio_write_bps",), ("blkio", "blkio.throttle.write_bps_device"), "io",
        f"Your kernel does not support BPS Block I/O write limit {_BLOCK} BPS write limit "
        "discarded.",
    ),
    Limit(
        ("blkio_read_iops",), ("blkio", "blkio.throttle.read_iops_device"), "io",
        f"Your kernel does not support IOPS Block read limit {_BLOCK} IOPS read limit discarded.",
    ),
    Limit(
        ("blkio_write_iops",), ("blkio", "blkio.throttle.write_iops_device"), "io",
        f"Your kernel does not support IOPS Block write limit {_BLOCK} IOPS write limit discarded.",
    ),
)  # fmt: skip
_REALTIME = Limit((), ("cpu", "cpu.rt_runtime_us"), "", "")
_QUOTA = next(limit for limit in LIMITS if "cpu_quota" in limit.fields)


class Kernel(msgspec.Struct, frozen=True, kw_only=True):
    """What it can: ``missing`` limits, and whether real-time and CFS limits exist.

    ``memory_nodes`` are those that there are, like ``0-1``; empty for unknown.
    """

    missing: tuple[Limit, ...] = ()
    realtime: bool = True
    memory_nodes: str = ""

    @property
    def quota(self) -> bool:
        """Whether the time of CPUs can be limited (``--cpus``)."""
        return _QUOTA not in self.missing


def look(hierarchies: Sequence[Hierarchy]) -> Kernel:
    """What the kernel of these hierarchies can."""
    missing = tuple(limit for limit in LIMITS if not _can(limit, hierarchies))
    return Kernel(
        missing=missing, realtime=_can(_REALTIME, hierarchies), memory_nodes=_memory_nodes()
    )


def _memory_nodes() -> str:
    try:
        with open("/sys/devices/system/node/has_memory") as file:
            return file.read().strip()
    except OSError:  # without NUMA
        return ""


def _can(limit: Limit, hierarchies: Sequence[Hierarchy]) -> bool:
    controller, names = limit.v1
    for tree in hierarchies:
        if tree.version == 1 and controller in tree.controllers:
            return not names or _has_file(tree.mount, names, root=True)
        if tree.version == 2 and limit.v2:
            first = limit.v2.split()[0]
            if first.partition(".")[0] in tree.controllers:
                return "." not in first or _has_file(tree.mount, limit.v2, root=False)
    return False


def _has_file(mount: str, names: str, *, root: bool) -> bool:
    """Whether a cgroup has one of these files; on v2 the root group has none of them.

    On v1 bfq's files show in all groups but the root as well.
    """
    with os.scandir(mount) as entries:
        groups = [entry.path for entry in entries if entry.is_dir(follow_symlinks=False)]
    groups = [mount, *groups] if root else groups
    return any(os.path.exists(f"{group}/{name}") for group in groups for name in names.split())


def fitted(resources: Resources, kernel: Kernel) -> tuple[Resources, tuple[str, ...]]:
    """The limits that the kernel keeps, and a warning for each of the others."""
    default, changes, warnings = Resources(), dict[str, object](), list[str]()
    for limit in kernel.missing:
        asked = [
            field
            for field in limit.fields
            if field not in changes and getattr(resources, field) != getattr(default, field)
        ]
        if asked == ["memory_swap"] and resources.memory_swap == -1:
            asked = []  # no limit was asked for
        if asked:
            changes |= {field: getattr(default, field) for field in asked}
            warnings.append(limit.warning)
    return msgspec.structs.replace(resources, **changes), tuple(warnings)


def beyond_this_process(spec: ContainerSpec, hard_limits: dict[str, int]) -> Iterator[str]:
    """Warnings where the engine itself lacks CAP_SYS_RESOURCE and has these hard limits."""
    if spec.oom_score_adj < 0:
        yield (
            "This machine does not allow a negative oom score (its root lacks CAP_SYS_RESOURCE). "
            "OomScoreAdj discarded."
        )
    for ulimit in spec.resources.ulimits:
        most = hard_limits.get(ulimit.name, -1)
        if most >= 0 and (ulimit.hard < 0 or ulimit.hard > most):
            yield (
                f"This machine does not allow the ulimit {ulimit.name} above {most} (its root "
                "lacks CAP_SYS_RESOURCE). It is lowered to that."
            )


def own_hard_limits() -> dict[str, int] | None:
    """Hard limits by ulimit name, None for a process that may raise them."""
    if capabilities.get()[0] & capabilities.mask(("CAP_SYS_RESOURCE",)):
        return None
    return {
        name.removeprefix("RLIMIT_").lower(): resource.getrlimit(getattr(resource, name))[1]
        for name in dir(resource)
        if name.startswith("RLIMIT_")
    }
