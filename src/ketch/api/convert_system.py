"""Version and info in Docker's shapes."""

from __future__ import annotations

import os
import threading
from typing import Any

from ketch import __version__
from ketch.api.times import rfc3339
from ketch.api.versions import MAXIMUM, MINIMUM, Version, text
from ketch.engine.containers.runtimes import Program
from ketch.engine.system_values import SystemInfo, VersionFacts


def version_json(facts: VersionFacts) -> dict[str, Any]:
    """``GET /version``."""
    details = {
        "ApiVersion": text(MAXIMUM),
        "Arch": facts.arch,
        "BuildTime": facts.build_time,
        "Experimental": "false",
        "GitCommit": "",
        "GoVersion": f"python{facts.python}",
        "KernelVersion": facts.kernel,
        "MinAPIVersion": text(MINIMUM),
        "Os": facts.os,
    }
    parts = [{"Name": "Engine", "Version": facts.version, "Details": details}]
    parts += [
        {"Name": name, "Version": version, "Details": {}}
        for name, version in facts.components.items()
    ]
    return {
        "Platform": {"Name": "ketch"},
        "Components": parts,
        "Version": facts.version,
        **{name: value for name, value in details.items() if name != "Experimental"},
    }


def info_json(info: SystemInfo, version: Version) -> dict[str, Any]:
    """``GET /info`` in the shape of ``version``."""
    found = {
        **_counts(info),
        **_storage(info),
        **_limits(info),
        **_machine(info),
        **_runtimes(info),
        **_SINGLE_NODE,
        **_debug(info),
        "RegistryConfig": _registries(info),
        "HttpProxy": info.proxies.get("http", ""),
        "HttpsProxy": info.proxies.get("https", ""),
        "NoProxy": info.proxies.get("no", ""),
        "SecurityOptions": list(info.security_options),
        "Labels": list(info.labels),
        "Warnings": list(info.warnings) or None,
    }
    if version >= (1, 44):
        found["CDISpecDirs"] = list(info.cdi_spec_dirs)
    _by_version(found, version)
    return found


def _by_version(found: dict[str, Any], version: Version) -> None:
    """Members that came and went."""
    if version < (1, 25):
        found["SecurityOptions"] = [
            option.partition(",")[0].removeprefix("name=") for option in found["SecurityOptions"]
        ]
    if version < (1, 50):
        found |= {"BridgeNfIptables": False, "BridgeNfIp6tables": False}
    if version >= (1, 49):
        found["FirewallBackend"] = {"Driver": "nftables"}
        return
    for name in ("ContainerdCommit", "RuncCommit", "InitCommit"):
        found[name] = {**found[name], "Expected": found[name]["ID"]}
    found["RegistryConfig"] = {
        "AllowNondistributableArtifactsCIDRs": None,
        "AllowNondistributableArtifactsHostnames": None,
        **found["RegistryConfig"],
    }


def _counts(info: SystemInfo) -> dict[str, Any]:
    return {
        "ID": info.id,
        "Containers": info.containers,
        "ContainersRunning": info.running,
        "ContainersPaused": info.paused,
        "ContainersStopped": info.stopped,
        "Images": info.images,
    }


def _storage(info: SystemInfo) -> dict[str, Any]:
    return {
        "Driver": info.snapshotter,
        "DriverStatus": [list(pair) for pair in info.storage_facts],
        "DockerRootDir": info.data_root,
        "Plugins": {
            "Volume": list(info.volume_drivers),
            "Network": list(info.network_drivers),
            "Authorization": None,
            "Log": list(info.log_drivers),
        },
        "LoggingDriver": info.log_driver,
    }


def _limits(info: SystemInfo) -> dict[str, Any]:
    limits = info.limits
    return {
        "MemoryLimit": limits.get("memory", False),
        "SwapLimit": limits.get("swap", False),
        "CpuCfsPeriod": limits.get("cpu_quota", False),
        "CpuCfsQuota": limits.get("cpu_quota", False),
        "CPUShares": limits.get("cpu_shares", False),
        "CPUSet": limits.get("cpuset", False),
        "PidsLimit": limits.get("pids", False),
        "OomKillDisable": limits.get("oom_kill_disable", False),
        "IPv4Forwarding": limits.get("ipv4_forwarding", True),
        "CgroupDriver": info.cgroup_driver,
        "CgroupVersion": info.cgroup_version,
    }


def _machine(info: SystemInfo) -> dict[str, Any]:
    return {
        "Name": info.name,
        "SystemTime": rfc3339(info.now),
        "KernelVersion": info.kernel,
        "OperatingSystem": info.operating_system,
        "OSVersion": info.os_version,
        "OSType": "linux",
        "Architecture": info.arch,
        "NCPU": info.cpus,
        "MemTotal": info.memory,
        "ServerVersion": __version__,
    }


def _runtime(program: Program) -> dict[str, Any]:
    arguments = {"runtimeArgs": list(program.args)} if program.args else {}
    return {"path": program.path, **arguments}


def _runtimes(info: SystemInfo) -> dict[str, Any]:
    none = {"ID": ""}
    return {
        "Runtimes": {name: _runtime(program) for name, program in info.runtimes.items()},
        "DefaultRuntime": info.default_runtime,
        "ContainerdCommit": none,
        "RuncCommit": none,
        "InitCommit": none,
        "InitBinary": "",
    }


def _debug(info: SystemInfo) -> dict[str, Any]:
    """Numbers that dockerd tells in debug mode only."""
    fds = len(os.listdir("/proc/self/fd")) if info.debug else -1
    return {
        "Debug": info.debug,
        "NFd": fds,
        "NGoroutines": threading.active_count() if info.debug else -1,
    }


def _registries(info: SystemInfo) -> dict[str, Any]:
    """Loopback addresses are insecure registries without being named."""
    networks = [name for name in info.insecure_registries if "/" in name]
    hosts = [name for name in info.insecure_registries if "/" not in name]
    hub = {"Name": "docker.io", "Mirrors": list(info.registry_mirrors)}
    return {
        "InsecureRegistryCIDRs": ["::1/128", "127.0.0.0/8", *networks],
        "IndexConfigs": {
            "docker.io": {**hub, "Secure": True, "Official": True},
            **{
                name: {"Name": name, "Mirrors": [], "Secure": False, "Official": False}
                for name in hosts
            },
        },
        "Mirrors": list(info.registry_mirrors),
    }


_SINGLE_NODE: dict[str, Any] = {
    "NEventsListener": 0,
    "IndexServerAddress": "https://index.docker.io/v1/",
    "GenericResources": None,
    "ExperimentalBuild": False,
    "Swarm": {
        "NodeID": "",
        "NodeAddr": "",
        "LocalNodeState": "inactive",
        "ControlAvailable": False,
        "Error": "",
        "RemoteManagers": None,
    },
    "LiveRestoreEnabled": True,
    "Isolation": "",
    "ProductLicense": "",
}
