"""A cgroup sample in the shape of ``GET /containers/{id}/stats``."""

from __future__ import annotations

from typing import Any

from ketch.api.times import ZERO, rfc3339
from ketch.engine.containers.record import ContainerRecord
from ketch.engine.containers.stats_values import BlkioEntry, NetworkCounters, Stats


def stats_json(record: ContainerRecord, now: Stats | None, before: Stats | None) -> dict[str, Any]:
    """One sample with the one before it, from which clients compute percentages.

    Without a sample (the container does not run) only its names and zeros.
    """
    name = f"/{record.name}"
    if now is None:
        return {"id": record.id, "name": name, "os_type": "linux", **_EMPTY}
    found: dict[str, Any] = {
        "id": record.id,
        "name": name,
        "os_type": "linux",
        "read": rfc3339(now.read_at),
        "preread": ZERO if before is None else rfc3339(before.read_at),
        "pids_stats": {"current": now.pids_current, **_nonzero("limit", now.pids_limit)},
        "blkio_stats": _blkio(now),
        "num_procs": 0,
        "storage_stats": {},
        "cpu_stats": _cpu(now),
        "precpu_stats": _NO_CPU if before is None else _cpu(before),
        "memory_stats": _memory(now),
    }
    if now.networks:
        found["networks"] = {name: _network(net) for name, net in now.networks.items()}
    return found


_NO_CPU: dict[str, Any] = {
    "cpu_usage": {"total_usage": 0, "usage_in_kernelmode": 0, "usage_in_usermode": 0},
    "throttling_data": {"periods": 0, "throttled_periods": 0, "throttled_time": 0},
}
_EMPTY: dict[str, Any] = {
    "read": ZERO,
    "preread": ZERO,
    "pids_stats": {},
    "blkio_stats": {},
    "num_procs": 0,
    "storage_stats": {},
    "cpu_stats": _NO_CPU,
    "precpu_stats": _NO_CPU,
    "memory_stats": {},
}


def _nonzero(name: str, value: int) -> dict[str, int]:
    return {name: value} if value else {}


def _cpu(stats: Stats) -> dict[str, Any]:
    periods, throttled, time = stats.throttling
    usage: dict[str, Any] = {
        "total_usage": stats.cpu_total,
        "usage_in_kernelmode": stats.cpu_kernel,
        "usage_in_usermode": stats.cpu_user,
    }
    if stats.percpu:
        usage["percpu_usage"] = stats.percpu
    return {
        "cpu_usage": usage,
        "system_cpu_usage": stats.system_cpu,
        "online_cpus": stats.online_cpus,
        "throttling_data": {
            "periods": periods,
            "throttled_periods": throttled,
            "throttled_time": time,
        },
    }


def _memory(stats: Stats) -> dict[str, Any]:
    return {
        "usage": stats.memory_usage,
        **_nonzero("max_usage", stats.memory_max_usage),
        **_nonzero("failcnt", stats.memory_failcnt),
        "stats": stats.memory_stats,
        "limit": stats.memory_limit,
    }


def _blkio(stats: Stats) -> dict[str, Any]:
    """What there is nothing of is an empty list with cgroup v1 (which alone tells of each CPU),
    null with v2.
    """
    nothing: list[Any] | None = [] if stats.percpu else None
    return {
        "io_service_bytes_recursive": [_entry(entry) for entry in stats.blkio_bytes] or nothing,
        "io_serviced_recursive": [_entry(entry) for entry in stats.blkio_ops] or nothing,
        "io_queue_recursive": nothing,
        "io_service_time_recursive": nothing,
        "io_wait_time_recursive": nothing,
        "io_merged_recursive": nothing,
        "io_time_recursive": nothing,
        "sectors_recursive": nothing,
    }


def _entry(entry: BlkioEntry) -> dict[str, Any]:
    return {"major": entry.major, "minor": entry.minor, "op": entry.op, "value": entry.value}


def _network(counters: NetworkCounters) -> dict[str, int]:
    return {
        name: getattr(counters, name)
        for name in (
            "rx_bytes",
            "rx_packets",
            "rx_errors",
            "rx_dropped",
            "tx_bytes",
            "tx_packets",
            "tx_errors",
            "tx_dropped",
        )
    }
