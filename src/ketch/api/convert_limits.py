"""Limits: ``Resources`` of Docker's JSON to the engine's value and back."""

from __future__ import annotations

from typing import Any

from ketch.api.refusal import refuse_fields
from ketch.api.schema.host import Device, Limits, Restart
from ketch.engine.model import DeviceMap, Resources, RestartPolicy, Ulimit

_REFUSED = (
    "BlkioWeightDevice",
    "BlkioDeviceReadBps",
    "BlkioDeviceWriteBps",
    "BlkioDeviceReadIOps",
    "BlkioDeviceWriteIOps",
    "CpuRealtimePeriod",
    "CpuRealtimeRuntime",
    "DeviceRequests",
    "KernelMemory",
    "KernelMemoryTCP",
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
)


def resources(limits: Limits) -> Resources:
    """What the engine enforces; raises ``Unsupported`` for what it can't."""
    refuse_fields(limits, "HostConfig", _REFUSED)
    if limits.MemorySwappiness not in (None, -1):
        refuse_fields(limits, "HostConfig", ("MemorySwappiness",))
    pids = limits.PidsLimit or 0
    return Resources(
        memory=limits.Memory or 0,
        memory_swap=limits.MemorySwap or 0,
        memory_reservation=limits.MemoryReservation or 0,
        nano_cpus=limits.NanoCpus or 0,
        cpu_shares=limits.CpuShares or 0,
        cpu_period=limits.CpuPeriod or 0,
        cpu_quota=limits.CpuQuota or 0,
        cpuset_cpus=limits.CpusetCpus or "",
        cpuset_mems=limits.CpusetMems or "",
        pids_limit=max(pids, 0),
        oom_kill_disable=bool(limits.OomKillDisable),
        blkio_weight=limits.BlkioWeight or 0,
        devices=tuple(_device(device) for device in limits.Devices or ()),
        device_cgroup_rules=tuple(limits.DeviceCgroupRules or ()),
        ulimits=tuple(
            Ulimit(name=limit.Name, soft=limit.Soft or 0, hard=limit.Hard or 0)
            for limit in limits.Ulimits or ()
        ),
    )


def _device(device: Device) -> DeviceMap:
    host = device.PathOnHost or ""
    return DeviceMap(
        host_path=host,
        container_path=device.PathInContainer or host,
        permissions=device.CgroupPermissions or "rwm",
    )


def restart_policy(policy: Restart | None) -> RestartPolicy:
    """Docker's default is ``no``."""
    if policy is None:
        return RestartPolicy()
    return RestartPolicy(name=policy.Name or "no", max_retries=policy.MaximumRetryCount or 0)


def limits_json(limits: Resources) -> dict[str, Any]:
    """The ``Resources`` part of ``HostConfig`` of inspect, with Docker's nulls."""
    return {
        "CpuShares": limits.cpu_shares,
        "Memory": limits.memory,
        "NanoCpus": limits.nano_cpus,
        "BlkioWeight": limits.blkio_weight,
        "BlkioWeightDevice": None,
        "BlkioDeviceReadBps": None,
        "BlkioDeviceWriteBps": None,
        "BlkioDeviceReadIOps": None,
        "BlkioDeviceWriteIOps": None,
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": 0,
        "CpuRealtimeRuntime": 0,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Devices": [_device_json(device) for device in limits.devices] or None,
        "DeviceCgroupRules": list(limits.device_cgroup_rules) or None,
        "DeviceRequests": None,
        "MemoryReservation": limits.memory_reservation,
        "MemorySwap": limits.memory_swap,
        "MemorySwappiness": None,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": limits.pids_limit or None,
        "Ulimits": [_ulimit_json(limit) for limit in limits.ulimits] or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _device_json(device: DeviceMap) -> dict[str, str]:
    return {
        "PathOnHost": device.host_path,
        "PathInContainer": device.container_path,
        "CgroupPermissions": device.permissions,
    }


def _ulimit_json(limit: Ulimit) -> dict[str, Any]:
    return {"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft}
