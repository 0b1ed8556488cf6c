"""Facts about the whole engine: version, info, disk usage."""

from __future__ import annotations

import msgspec

from ketch.engine.containers.list import ContainerSizes
from ketch.engine.containers.record import ContainerRecord
from ketch.engine.containers.runtimes import Program
from ketch.engine.volumes.values import VolumeRecord


class VersionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for ``version``."""

    version: str
    kernel: str
    os: str
    arch: str
    python: str
    build_time: str = ""
    components: dict[str, str] = {}  # name → version


class SystemInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for ``info``; all read from the machine or counted from the records."""

    id: str
    name: str
    containers: int
    running: int
    paused: int
    stopped: int
    images: int
    snapshotter: str
    storage_facts: tuple[tuple[str, str], ...] = ()
    log_driver: str = "json-file"
    log_drivers: tuple[str, ...] = ()
    volume_drivers: tuple[str, ...] = ("local",)
    network_drivers: tuple[str, ...] = ()
    cgroup_driver: str = "cgroupfs"
    cgroup_version: str = "1"
    kernel: str = ""
    operating_system: str = ""
    os_version: str = ""
    arch: str = ""
    cpus: int = 0
    memory: int = 0
    data_root: str = ""
    security_options: tuple[str, ...] = ()
    runtimes: dict[str, Program] = {}
    default_runtime: str = ""
    limits: dict[str, bool] = {}  # memory, swap, cpu_shares, cpu_quota, cpuset, pids, …
    labels: tuple[str, ...] = ()
    cdi_spec_dirs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()  # hosts and CIDRs
    proxies: dict[str, str] = {}  # http, https, no
    debug: bool = False
    now: int = 0


class DiskUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for ``system df``: records with their sizes in bytes."""

    layers_size: int = 0
    containers: tuple[tuple[ContainerRecord, ContainerSizes], ...] = ()
    volumes: tuple[tuple[VolumeRecord, int, int], ...] = ()  # record, size, reference count
