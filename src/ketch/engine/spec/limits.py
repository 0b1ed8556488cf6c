"""Checks of limits before anything is made (pure), in Docker's words."""

from __future__ import annotations

import re

from ketch.engine.containers.limits import Resources, Ulimit
from ketch.engine.spec.kernel import Kernel
from ketch.errors import InvalidParameter

ULIMITS = str.split(
    "as core cpu data fsize locks memlock msgqueue nice nofile nproc rss rtprio rttime "
    "sigpending stack"
)
_MINIMUM_MEMORY = 6 * 1024 * 1024
_DEVICE_RULE = re.compile(r"[acb] (\d+|\*):(\d+|\*) [rwm]{1,3}\Z", re.ASCII)
_LIST = re.compile(r"(\d+(-\d+)?)(,\d+(-\d+)?)*\Z", re.ASCII)


def check(resources: Resources, cpus: int, kernel: Kernel) -> None:
    """Raise ``InvalidParameter`` for limits that make no sense on this machine."""
    _check_memory(resources)
    _check_cpu(resources, cpus, kernel)
    _check_realtime(resources, kernel)
    _check_cpuset(resources, cpus, kernel.memory_nodes)
    _check_block_io(resources)
    check_ulimits(resources.ulimits)
    _check_devices(resources)


def _check_memory(resources: Resources) -> None:
    memory, swap = resources.memory, resources.memory_swap
    if memory < 0 or 0 < memory < _MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory limit allowed is 6MB")
    if swap < -1:
        raise InvalidParameter(f"invalid memory-swap: {swap}")
    if swap > 0 and not memory:
        raise InvalidParameter(
            "You should always set the Memory limit when using Memoryswap limit, see usage"
        )
    if 0 < swap < memory:
        raise InvalidParameter(
            "Minimum memoryswap limit should be larger than memory limit, see usage"
        )
    if resources.memory_reservation < 0 or 0 < resources.memory_reservation < _MINIMUM_MEMORY:
        raise InvalidParameter("Minimum memory reservation allowed is 6MB")
    if 0 < memory < resources.memory_reservation:
        raise InvalidParameter(
            "Minimum memory limit can not be less than memory reservation limit, see usage"
        )
    swappiness = resources.memory_swappiness
    if swappiness is not None and not 0 <= swappiness <= 100:
        raise InvalidParameter(
            f"Invalid value: {swappiness}, valid memory swappiness range is 0-100"
        )


def _check_cpu(resources: Resources, cpus: int, kernel: Kernel) -> None:
    if resources.nano_cpus and resources.cpu_period:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Period cannot both be set")
    if resources.nano_cpus and resources.cpu_quota:
        raise InvalidParameter("Conflicting options: Nano CPUs and CPU Quota cannot both be set")
    if resources.nano_cpus and not kernel.quota:
        raise InvalidParameter(
            "NanoCPUs can not be set, as your kernel does not support CPU CFS scheduler or the "
            "cgroup is not mounted"
        )
    if resources.nano_cpus and not 10_000_000 <= resources.nano_cpus <= cpus * 1_000_000_000:
        raise InvalidParameter(
            f"range of CPUs is from 0.01 to {cpus}.00, as there are only {cpus} CPUs available"
        )
    if resources.cpu_shares < 0:
        raise InvalidParameter(
            f"invalid CPU shares ({resources.cpu_shares}): value must be a positive integer"
        )
    if resources.cpu_period and not 1000 <= resources.cpu_period <= 1_000_000:
        raise InvalidParameter(
            "CPU cfs period can not be less than 1ms (i.e. 1000) or larger than 1s (i.e. 1000000)"
        )
    if 0 < resources.cpu_quota < 1000 or resources.cpu_quota < -1:
        raise InvalidParameter("CPU cfs quota can not be less than 1ms (i.e. 1000)")


def _check_realtime(resources: Resources, kernel: Kernel) -> None:
    period, runtime = resources.cpu_rt_period, resources.cpu_rt_runtime
    if not period and not runtime:
        return
    if not kernel.realtime:
        raise InvalidParameter("Your kernel does not support CPU real-time scheduler")
    if period < 0 or runtime < 0:
        raise InvalidParameter("cpu real-time period and runtime cannot be negative")
    if period and runtime > period:
        raise InvalidParameter("cpu real-time runtime cannot be higher than cpu real-time period")


def _check_cpuset(resources: Resources, cpus: int, memory_nodes: str) -> None:
    asked, nodes = resources.cpuset_cpus, resources.cpuset_mems
    if asked and not _LIST.match(asked):
        raise InvalidParameter(f"Invalid value {asked} for cpuset cpus: invalid format: {asked}")
    if _highest(asked) >= cpus:
        raise InvalidParameter(
            f"Requested CPUs are not available - requested {asked}, available: 0-{cpus - 1}"
        )
    if nodes and not _LIST.match(nodes):
        raise InvalidParameter(f"Invalid value {nodes} for cpuset mems: invalid format: {nodes}")
    if nodes and memory_nodes and _highest(nodes) > _highest(memory_nodes):
        raise InvalidParameter(
            f"Requested memory nodes are not available - requested {nodes}, "
            f"available: {memory_nodes}"
        )


def _highest(numbers: str) -> int:
    """The highest of a list like ``0-3,7``; -1 for an empty one."""
    return max(map(int, re.findall(r"\d+", numbers)), default=-1)


def _check_block_io(resources: Resources) -> None:
    if resources.blkio_weight and not 10 <= resources.blkio_weight <= 1000:
        raise InvalidParameter("Range of blkio weight is from 10 to 1000")
    for device in resources.blkio_weight_devices:
        if not 10 <= device.value <= 1000:
            raise InvalidParameter(
                f"Range of blkio weight of a device is from 10 to 1000, not {device.value} "
                f"({device.path})"
            )
    rates = (
        *resources.blkio_read_bps, *resources.blkio_write_bps,
        *resources.blkio_read_iops, *resources.blkio_write_iops,
    )  # fmt: skip
    for device in rates:
        if device.value < 0:
            raise InvalidParameter(f"the rate of {device.path} is negative: {device.value}")
    for device in (*resources.blkio_weight_devices, *rates):
        if not device.path.startswith("/dev/") or "\0" in device.path:
            raise InvalidParameter(f"bad format for device path: {device.path}")


def check_ulimits(ulimits: tuple[Ulimit, ...]) -> None:
    """Raise ``InvalidParameter`` for a limit with an unknown name or a soft part above the hard."""
    for ulimit in ulimits:
        if ulimit.name not in ULIMITS:
            raise InvalidParameter(f"invalid ulimit type: {ulimit.name}")
        if ulimit.soft < -1 or ulimit.hard < -1:
            raise InvalidParameter(
                f"ulimit {ulimit.name} {ulimit.soft}:{ulimit.hard}: -1 is unlimited, and nothing "
                "is less"
            )
        if ulimit.hard != -1 and (ulimit.soft == -1 or ulimit.soft > ulimit.hard):
            raise InvalidParameter(
                f"ulimit soft limit must be less than or equal to hard limit: "
                f"{ulimit.soft} > {ulimit.hard}"
            )


def _check_devices(resources: Resources) -> None:
    for rule in resources.device_cgroup_rules:
        if not _DEVICE_RULE.match(rule):
            raise InvalidParameter(f"invalid device cgroup rule format: '{rule}'")
    for device in resources.devices:
        if "\0" in device.host_path or not re.match(r"/[^\0]*\Z", device.container_path):
            raise InvalidParameter(
                f"invalid device: {device.host_path!r} at {device.container_path!r}: "
                "both are absolute paths"
            )
        if not set(device.permissions) <= set("rwm"):
            raise InvalidParameter(f"invalid device mode: {device.permissions}")
