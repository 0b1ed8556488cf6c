"""Limits: ``Resources`` of Docker's JSON to the engine's value and back."""

from __future__ import annotations

from typing import Any

import msgspec

from ketch.api.refusal import refuse_fields
from ketch.api.schema.host import Device, Limits, Request, Restart, ThrottleDevice
from ketch.engine.containers.limits import DeviceMap, DeviceRate, DeviceRequest, Resources, Ulimit
from ketch.engine.containers.spec import RestartPolicy

KERNEL_MEMORY = "Specifying a kernel memory limit is deprecated: no kernel has it. Limit discarded."
_FIXED = ("Devices", "DeviceCgroupRules", "DeviceRequests", "Ulimits", "CgroupParent")
_REFUSED = (
    "CpuCount",
    "CpuPercent",
    "IOMaximumIOps",
    "IOMaximumBandwidth",
)


def resources(limits: Limits) -> Resources:
    """What the engine enforces; raises ``Unsupported`` for what it can't."""
    refuse_fields(limits, "HostConfig", _REFUSED)
    swappiness = limits.MemorySwappiness
    return Resources(
        memory=limits.Memory or 0,
        memory_swap=limits.MemorySwap or 0,
        memory_reservation=limits.MemoryReservation or 0,
        memory_swappiness=None if swappiness == -1 else swappiness,
        nano_cpus=limits.NanoCpus or 0,
        cpu_shares=limits.CpuShares or 0,
        cpu_period=limits.CpuPeriod or 0,
        cpu_quota=limits.CpuQuota or 0,
        cpu_rt_period=limits.CpuRealtimePeriod or 0,
        cpu_rt_runtime=limits.CpuRealtimeRuntime or 0,
        cpuset_cpus=limits.CpusetCpus or "",
        cpuset_mems=limits.CpusetMems or "",
        pids_limit=max(limits.PidsLimit or 0, 0),
        oom_kill_disable=bool(limits.OomKillDisable),
        **_block_io(limits),
        devices=tuple(_device(device) for device in limits.Devices or ()),
        device_requests=tuple(_request(request) for request in limits.DeviceRequests or ()),
        device_cgroup_rules=tuple(limits.DeviceCgroupRules or ()),
        ulimits=tuple(
            Ulimit(name=limit.Name, soft=limit.Soft or 0, hard=limit.Hard or 0)
            for limit in limits.Ulimits or ()
        ),
    )


def update(limits: Limits) -> Resources:
    """What ``update`` changes; there a limit of pids that is not positive lifts the present one.

    Devices and ulimits belong to the process as it was started.
    """
    refuse_fields(limits, "Update", _FIXED)
    found = resources(limits)
    lifts = limits.PidsLimit is not None and limits.PidsLimit <= 0
    return msgspec.structs.replace(found, pids_limit=-1) if lifts else found


def _block_io(limits: Limits) -> dict[str, Any]:
    weights = (
        DeviceRate(path=device.Path, value=device.Weight)
        for device in limits.BlkioWeightDevice or ()
    )
    return {
        "blkio_weight": limits.BlkioWeight or 0,
        "blkio_weight_devices": tuple(weights),
        "blkio_read_bps": _rates(limits.BlkioDeviceReadBps),
        "blkio_write_bps": _rates(limits.BlkioDeviceWriteBps),
        "blkio_read_iops": _rates(limits.BlkioDeviceReadIOps),
        "blkio_write_iops": _rates(limits.BlkioDeviceWriteIOps),
    }


def _rates(devices: list[ThrottleDevice] | None) -> tuple[DeviceRate, ...]:
    return tuple(DeviceRate(path=device.Path, value=device.Rate) for device in devices or ())


def _device(device: Device) -> DeviceMap:
    host = device.PathOnHost or ""
    return DeviceMap(
        host_path=host,
        container_path=device.PathInContainer or host,
        permissions=device.CgroupPermissions or "rwm",
    )


def _request(request: Request) -> DeviceRequest:
    return DeviceRequest(
        driver=request.Driver or "",
        count=request.Count or 0,
        ids=tuple(request.DeviceIDs or ()),
        capabilities=tuple(tuple(every) for every in request.Capabilities or ()),
        options=request.Options or {},
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
        "BlkioWeightDevice": _rates_json(limits.blkio_weight_devices, "Weight"),
        "BlkioDeviceReadBps": _rates_json(limits.blkio_read_bps, "Rate"),
        "BlkioDeviceWriteBps": _rates_json(limits.blkio_write_bps, "Rate"),
        "BlkioDeviceReadIOps": _rates_json(limits.blkio_read_iops, "Rate"),
        "BlkioDeviceWriteIOps": _rates_json(limits.blkio_write_iops, "Rate"),
        "CpuPeriod": limits.cpu_period,
        "CpuQuota": limits.cpu_quota,
        "CpuRealtimePeriod": limits.cpu_rt_period,
        "CpuRealtimeRuntime": limits.cpu_rt_runtime,
        "CpusetCpus": limits.cpuset_cpus,
        "CpusetMems": limits.cpuset_mems,
        "Devices": [_device_json(device) for device in limits.devices] or None,
        "DeviceCgroupRules": list(limits.device_cgroup_rules) or None,
        "DeviceRequests": [_request_json(one) for one in limits.device_requests] or None,
        "MemoryReservation": limits.memory_reservation,
        "MemorySwap": limits.memory_swap,
        "MemorySwappiness": limits.memory_swappiness,
        "OomKillDisable": limits.oom_kill_disable,
        "PidsLimit": max(limits.pids_limit, 0) if limits.pids_limit else None,
        "Ulimits": [_ulimit_json(limit) for limit in limits.ulimits] or None,
        "CpuCount": 0,
        "CpuPercent": 0,
        "IOMaximumIOps": 0,
        "IOMaximumBandwidth": 0,
    }


def _rates_json(rates: tuple[DeviceRate, ...], key: str) -> list[dict[str, Any]] | None:
    return [{"Path": rate.path, key: rate.value} for rate in rates] or None


def _request_json(request: DeviceRequest) -> dict[str, Any]:
    return {
        "Driver": request.driver,
        "Count": request.count,
        "DeviceIDs": list(request.ids) or None,
        "Capabilities": [list(every) for every in request.capabilities] or None,
        "Options": request.options,
    }


def _device_json(device: DeviceMap) -> dict[str, str]:
    return {
        "PathOnHost": device.host_path,
        "PathInContainer": device.container_path,
        "CgroupPermissions": device.permissions,
    }


def _ulimit_json(limit: Ulimit) -> dict[str, Any]:
    return {"Name": limit.name, "Hard": limit.hard, "Soft": limit.soft}
