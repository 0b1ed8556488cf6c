"""``HostConfig`` as inspect shows it: what was asked for, with Docker's nulls and defaults."""

from __future__ import annotations

from typing import Any

from ketch.api.convert_limits import limits_json
from ketch.api.convert_mounts import spec_json
from ketch.api.versions import Version
from ketch.engine.containers.spec import ContainerSpec, MountSpec


def host_json(spec: ContainerSpec, version: Version) -> dict[str, Any]:
    """The document; a list is null where none was sent, and empty where an empty one was, as
    Docker has it."""
    found = {
        **_files(spec),
        **_network(spec),
        **_process(spec),
        **_namespaces(spec),
        **limits_json(spec.resources),
    }
    found |= {name: [] for name in spec.empty_lists if found[name] is None}
    if version < (1, 42):
        found |= {"KernelMemory": 0, "KernelMemoryTCP": 0}
    if version >= (1, 43) and spec.annotations:
        found["Annotations"] = spec.annotations
    return found


def _files(spec: ContainerSpec) -> dict[str, Any]:
    asked = spec.mounts[len(spec.binds) :]
    tmpfs = {mount.target: ",".join(mount.tmpfs_options) for mount in asked if _plain_tmpfs(mount)}
    typed = [spec_json(mount) for mount in asked if not _plain_tmpfs(mount)]
    found: dict[str, Any] = {
        "Binds": list(spec.binds) or None,
        "ContainerIDFile": spec.id_file,
        "LogConfig": {"Type": spec.log.driver or "json-file", "Config": spec.log.options},
        "VolumeDriver": spec.volume_driver,
        "VolumesFrom": list(spec.volumes_from) or None,
        "ReadonlyRootfs": spec.read_only_rootfs,
        "ShmSize": spec.shm_size,
    }
    if typed:
        found["Mounts"] = typed
    if spec.storage_options:
        found["StorageOpt"] = spec.storage_options
    if tmpfs:
        found["Tmpfs"] = tmpfs
    return found


def _plain_tmpfs(mount: MountSpec) -> bool:
    return mount.short


def _network(spec: ContainerSpec) -> dict[str, Any]:
    bindings: dict[str, list[dict[str, str]]] = {}
    for port in spec.ports:
        bindings.setdefault(f"{port.container_port}/{port.protocol}", []).append(
            {"HostIp": port.host_ip, "HostPort": port.host_port}
        )
    return {
        "NetworkMode": spec.network_mode,
        "PortBindings": bindings,
        "PublishAllPorts": spec.publish_all,
        "Dns": list(spec.dns) or None,
        "DnsOptions": list(spec.dns_options) or None,
        "DnsSearch": list(spec.dns_search) or None,
        "ExtraHosts": list(spec.extra_hosts) or None,
    }


def _process(spec: ContainerSpec) -> dict[str, Any]:
    return {
        "RestartPolicy": {
            "Name": spec.restart.name,
            "MaximumRetryCount": spec.restart.max_retries,
        },
        "AutoRemove": spec.auto_remove,
        "ConsoleSize": list(spec.console_size),
        "CapAdd": list(spec.cap_add) or None,
        "CapDrop": list(spec.cap_drop) or None,
        "GroupAdd": list(spec.group_add) or None,
        "OomScoreAdj": spec.oom_score_adj,
        "Privileged": spec.privileged,
        "SecurityOpt": list(spec.security_options) or None,
        "Runtime": spec.runtime or "ketch",
        "Isolation": spec.isolation,
        "CgroupParent": spec.cgroup_parent,
        "Cgroup": "",
        **({} if spec.init is None else {"Init": spec.init}),
        **({"Sysctls": spec.sysctls} if spec.sysctls else {}),
    }


def _namespaces(spec: ContainerSpec) -> dict[str, Any]:
    return {
        "CgroupnsMode": spec.cgroupns_mode or "private",
        "IpcMode": spec.ipc_mode or "private",
        "PidMode": spec.pid_mode,
        "UTSMode": spec.uts_mode,
        "UsernsMode": spec.userns_mode,
        "MaskedPaths": _paths(spec.masked_paths, _MASKED, spec.privileged),
        "ReadonlyPaths": _paths(spec.readonly_paths, _READ_ONLY, spec.privileged),
    }


def _paths(
    asked: tuple[str, ...] | None, default: tuple[str, ...], privileged: bool
) -> list[str] | None:
    if privileged:
        return None
    return list(default if asked is None else asked)


_MASKED = (
    "/proc/asound",
    "/proc/acpi",
    "/proc/interrupts",
    "/proc/kcore",
    "/proc/keys",
    "/proc/latency_stats",
    "/proc/timer_list",
    "/proc/timer_stats",
    "/proc/sched_debug",
    "/proc/scsi",
    "/sys/firmware",
    "/sys/devices/virtual/powercap",
)
_READ_ONLY = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
