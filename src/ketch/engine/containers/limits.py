"""The part of the records that limits a container: resources, devices, ulimits."""

from __future__ import annotations

import msgspec


class Ulimit(msgspec.Struct, frozen=True, kw_only=True):
    """One rlimit by its lower-case name without RLIMIT_."""

    name: str
    soft: int
    hard: int


class DeviceMap(msgspec.Struct, frozen=True, kw_only=True):
    """A host device made visible inside; ``permissions`` from ``rwm``."""

    host_path: str
    container_path: str
    permissions: str = "rwm"


class DeviceRate(msgspec.Struct, frozen=True, kw_only=True):
    """A number for one block device: a weight, bytes or operations per second."""

    path: str  # on the host
    value: int


class DeviceRequest(msgspec.Struct, frozen=True, kw_only=True):
    """Devices of a driver: ``count`` -1 = all. ``capabilities``: any of these lists, whole."""

    driver: str = ""
    count: int = 0
    ids: tuple[str, ...] = ()
    capabilities: tuple[tuple[str, ...], ...] = ()
    options: dict[str, str] = {}


class Resources(msgspec.Struct, frozen=True, kw_only=True):
    """Limits; 0 (or empty) means none. -1 lifts ``memory_swap``, ``cpu_quota``, ``pids_limit``."""

    memory: int = 0
    memory_swap: int = 0
    memory_reservation: int = 0
    memory_swappiness: int | None = None  # 0-100; None = the kernel's
    nano_cpus: int = 0
    cpu_shares: int = 0
    cpu_period: int = 0
    cpu_quota: int = 0
    cpu_rt_period: int = 0  # microseconds
    cpu_rt_runtime: int = 0
    cpuset_cpus: str = ""
    cpuset_mems: str = ""
    pids_limit: int = 0
    oom_kill_disable: bool = False
    blkio_weight: int = 0
    blkio_weight_devices: tuple[DeviceRate, ...] = ()
    blkio_read_bps: tuple[DeviceRate, ...] = ()
    blkio_write_bps: tuple[DeviceRate, ...] = ()
    blkio_read_iops: tuple[DeviceRate, ...] = ()
    blkio_write_iops: tuple[DeviceRate, ...] = ()
    devices: tuple[DeviceMap, ...] = ()
    device_requests: tuple[DeviceRequest, ...] = ()
    device_cgroup_rules: tuple[str, ...] = ()
    ulimits: tuple[Ulimit, ...] = ()
