"""Facts about the machine and the engine."""

from __future__ import annotations

import asyncio
import logging
import os
import platform
import re
import socket
import time
import urllib.request
import uuid
from typing import TYPE_CHECKING

from ketch import __version__
from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers import log_options
from ketch.engine.containers.record import Status
from ketch.engine.system_values import DiskUsage, SystemInfo, VersionFacts

if TYPE_CHECKING:
    from ketch.engine.containers.containers import Containers
    from ketch.engine.containers.parts import Parts

_ARCHITECTURES = {"x86_64": "amd64", "aarch64": "arm64", "armv7l": "arm", "i686": "386"}
_LIMITS = {  # what info says -> (controller, file that must be there on v1)
    "memory": ("memory", "memory.limit_in_bytes"),
    "swap": ("memory", "memory.memsw.limit_in_bytes"),
    "oom_kill_disable": ("memory", "memory.oom_control"),
    "cpu_shares": ("cpu", "cpu.shares"),
    "cpu_quota": ("cpu", "cpu.cfs_quota_us"),
    "cpuset": ("cpuset", "cpuset.cpus"),
    "pids": ("pids", ""),
}


class System:
    """Version, info, disk usage."""

    def __init__(self, parts: Parts, containers: Containers) -> None:
        self._parts = parts
        self._containers = containers
        self.storage_driver = parts.snapshots.name
        self.id = _identity(f"{parts.config.data_root}/engine-id")

    def version(self) -> VersionFacts:
        """Versions of ketch and what it stands on."""
        return VersionFacts(
            version=__version__,
            kernel=os.uname().release,
            os="linux",
            arch=_ARCHITECTURES.get(os.uname().machine, os.uname().machine),
            python=platform.python_version(),
        )

    async def info(self) -> SystemInfo:
        """Counts, drivers, limits, warnings."""
        states = [record.state.status for record in self._parts.store]
        paused, running = states.count(Status.PAUSED), states.count(Status.RUNNING)
        release = _os_release()
        limits = _limits()
        return SystemInfo(
            id=self.id,
            name=socket.gethostname(),
            containers=len(states),
            running=running,
            paused=paused,
            stopped=len(states) - running - paused,
            images=len(self._parts.images.records()),
            snapshotter=self._parts.snapshots.name,
            log_driver=self._parts.config.log.driver,
            log_drivers=tuple(name for name in log_options.available() if name != "none"),
            network_drivers=("bridge", "host", "null"),
            cgroup_version=cgroup_version(),
            kernel=os.uname().release,
            operating_system=release.get("PRETTY_NAME", "Linux"),
            os_version=release.get("VERSION_ID", ""),
            arch=os.uname().machine,
            cpus=os.cpu_count() or 1,
            memory=os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE"),
            data_root=self._parts.config.data_root,
            security_options=("name=seccomp,profile=builtin", "name=cgroupns"),
            runtimes=self._parts.runtimes.all(),
            default_runtime=self._parts.runtimes.default,
            limits=limits,
            labels=self._parts.config.labels,
            registry_mirrors=self._parts.images.registries.mirrors,
            insecure_registries=self._parts.images.registries.insecure,
            proxies=_proxies(),
            debug=logging.getLogger().isEnabledFor(logging.DEBUG),
            cdi_spec_dirs=self._parts.config.cdi_spec_dirs,
            warnings=tuple(
                f"WARNING: No {name.replace('_', ' ')} limit support"
                for name, there in limits.items()
                if not there
            ),
            now=time.time_ns(),
        )

    async def disk_usage(self, kinds: frozenset[str]) -> DiskUsage:
        """Sizes of what ``kinds`` names: ``image`` (all layers), ``container``, ``volume``."""
        parts = self._parts
        records = list(parts.store) if "container" in kinds else []
        sizes = [await self._containers.sizes(record.id) for record in records]
        return DiskUsage(
            layers_size=(
                await asyncio.to_thread(parts.images.layers_size) if "image" in kinds else 0
            ),
            containers=tuple(zip(records, sizes, strict=True)),
            volumes=tuple(await parts.volumes.usage()) if "volume" in kinds else (),
        )


def _proxies() -> dict[str, str]:
    """What the registry client takes from the environment; passwords are not shown."""
    found = urllib.request.getproxies()
    return {
        name: re.sub(r"//[^/@]*@", "//xxxxx:xxxxx@", found[name])
        for name in ("http", "https", "no")
        if name in found
    }


def cgroup_version() -> str:
    """``2`` when there is nothing but the unified hierarchy, else ``1`` (hybrid included)."""
    return "2" if all(h.version == 2 for h in container_cgroup.hierarchies()) else "1"


def _limits() -> dict[str, bool]:
    found = {}
    for name, (controller, file) in _LIMITS.items():
        holders = [h for h in container_cgroup.hierarchies() if controller in h.controllers]
        found[name] = bool(holders) and (
            holders[0].version == 2 or os.path.exists(f"{holders[0].mount}/{file}")
        )
    return found


def _os_release() -> dict[str, str]:
    try:
        return platform.freedesktop_os_release()
    except OSError:
        return {}


def _identity(path: str) -> str:
    """The engine's ID, made once for a data root."""
    try:
        with open(path) as file:
            return file.read().strip()
    except FileNotFoundError:
        identity = str(uuid.uuid4())
        with open(path, "w") as file:
            file.write(identity + "\n")
        return identity
