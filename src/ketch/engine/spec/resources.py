"""Limits as the OCI runtime specification writes them (config-linux.md; pure)."""

from __future__ import annotations

import msgspec

from ketch.engine.containers.limits import DeviceRate, Resources, Ulimit

_PERIOD = 100_000  # microseconds; what --cpus is counted in
_UNLIMITED = -1


def with_defaults(resources: Resources) -> Resources:
    """Fill in what Docker derives: swap is twice the memory limit when only that is given."""
    if resources.memory > 0 and resources.memory_swap == 0:
        return msgspec.structs.replace(resources, memory_swap=2 * resources.memory)
    return resources


def updated(old: Resources, change: Resources) -> Resources:
    """``old`` with every value of ``change`` that is not zero or empty."""
    changes = {
        field: getattr(change, field)
        for field in Resources.__struct_fields__
        if getattr(change, field) not in (None, 0, "", (), False)
    }
    return msgspec.structs.replace(old, **changes)


def oci_resources(
    resources: Resources,
    device_rules: list[dict[str, object]],
    block_io: dict[str, object] | None = None,
) -> dict[str, object]:
    """The ``linux.resources`` object; only what is limited appears in it.

    ``block_io`` are the limits per device, whose numbers had to be looked up.
    """
    weight = {"weight": resources.blkio_weight} if resources.blkio_weight else {}
    sections = {
        "memory": _memory(resources),
        "cpu": _cpu(resources),
        "pids": {"limit": resources.pids_limit} if resources.pids_limit else {},
        "blockIO": {**weight, **(block_io or {})},
    }
    return {
        "devices": device_rules + [_device_rule(rule) for rule in resources.device_cgroup_rules],
        **{name: section for name, section in sections.items() if section},
    }


def _memory(resources: Resources) -> dict[str, object]:
    values = {
        "limit": resources.memory,
        "reservation": resources.memory_reservation,
        "swap": resources.memory_swap,
        "disableOOMKiller": resources.oom_kill_disable,
    }
    found: dict[str, object] = {name: value for name, value in values.items() if value}
    if resources.memory_swappiness is not None:
        found["swappiness"] = resources.memory_swappiness
    return found


def device_rates(resources: Resources) -> dict[str, tuple[DeviceRate, ...]]:
    """The limits per block device under their OCI names; only those that there are."""
    asked = {
        "weightDevice": resources.blkio_weight_devices,
        "throttleReadBpsDevice": resources.blkio_read_bps,
        "throttleWriteBpsDevice": resources.blkio_write_bps,
        "throttleReadIOPSDevice": resources.blkio_read_iops,
        "throttleWriteIOPSDevice": resources.blkio_write_iops,
    }
    return {name: rates for name, rates in asked.items() if rates}


def _cpu(resources: Resources) -> dict[str, object]:
    period, quota = resources.cpu_period, resources.cpu_quota
    if resources.nano_cpus:
        period, quota = _PERIOD, resources.nano_cpus * _PERIOD // 1_000_000_000
    values = {
        "shares": resources.cpu_shares,
        "period": period,
        "quota": quota,
        "realtimePeriod": resources.cpu_rt_period,
        "realtimeRuntime": resources.cpu_rt_runtime,
        "cpus": resources.cpuset_cpus,
        "mems": resources.cpuset_mems,
    }
    return {name: value for name, value in values.items() if value}


def _device_rule(rule: str) -> dict[str, object]:
    kind, numbers, access = rule.split(" ")
    entry: dict[str, object] = {"allow": True, "type": kind, "access": access}
    for name, number in zip(("major", "minor"), numbers.split(":"), strict=True):
        if number != "*":
            entry[name] = int(number)
    return entry


def ulimits(own: tuple[Ulimit, ...], default: tuple[Ulimit, ...]) -> tuple[Ulimit, ...]:
    """A container's own, and the engine's defaults that it does not name."""
    named = {ulimit.name for ulimit in own}
    return (*own, *(ulimit for ulimit in default if ulimit.name not in named))


def rlimits(ulimits: tuple[Ulimit, ...]) -> list[dict[str, object]]:
    """``process.rlimits``; -1 (unlimited) is RLIM_INFINITY."""
    return [
        {
            "type": f"RLIMIT_{ulimit.name.upper()}",
            "soft": _rlimit(ulimit.soft),
            "hard": _rlimit(ulimit.hard),
        }
        for ulimit in ulimits
    ]


def _rlimit(value: int) -> int:
    return (1 << 64) - 1 if value == _UNLIMITED else value
