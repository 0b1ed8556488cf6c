"""Counters of a container: one sample."""

from __future__ import annotations

import msgspec


class NetworkCounters(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one interface, seen from inside the container."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


class BlkioEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One counter of one block device; ``op`` is ``read``, ``write``…"""

    major: int
    minor: int
    op: str
    value: int


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of a container's cgroup: the kernel's numbers, nothing computed.

    CPU values in ns; ``memory_stats`` holds the lines of memory.stat; ``online_cpus`` the number
    of CPUs; ``system_cpu`` the host's CPU time of all kinds (/proc/stat, first line) in ns.
    """

    read_at: int
    cpu_total: int = 0
    cpu_user: int = 0
    cpu_kernel: int = 0
    percpu: tuple[int, ...] = ()
    throttling: tuple[int, int, int] = (0, 0, 0)  # periods, throttled periods, throttled ns
    system_cpu: int = 0
    online_cpus: int = 0
    memory_usage: int = 0
    memory_max_usage: int = 0
    memory_failcnt: int = 0
    memory_limit: int = 0
    memory_stats: dict[str, int] = {}
    pids_current: int = 0
    pids_limit: int = 0
    blkio_bytes: tuple[BlkioEntry, ...] = ()
    blkio_ops: tuple[BlkioEntry, ...] = ()
    networks: dict[str, NetworkCounters] = {}
