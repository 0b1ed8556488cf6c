"""From the flags of ``run`` to the HostConfig of POST /containers/create."""

from ketch.cli.flags import UsageError

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

    from ketch.cli.flags import Parsed

BLOCK_DEVICES = {
    "blkio-weight-device": "BlkioWeightDevice",
    "device-read-bps": "BlkioDeviceReadBps",
    "device-read-iops": "BlkioDeviceReadIOps",
    "device-write-bps": "BlkioDeviceWriteBps",
    "device-write-iops": "BlkioDeviceWriteIOps",
}
RARE = {  # sent when given: flag, field
    "annotation": "Annotations",
    "cpu-rt-period": "CpuRealtimePeriod",
    "cpu-rt-runtime": "CpuRealtimeRuntime",
    "device-cgroup-rule": "DeviceCgroupRules",
    "init": "Init",
    "kernel-memory": "KernelMemory",
    "link": "Links",
    "memory": "Memory",
    "memory-reservation": "MemoryReservation",
    "memory-swap": "MemorySwap",
    "memory-swappiness": "MemorySwappiness",
    "cpus": "NanoCpus",
    "oom-kill-disable": "OomKillDisable",
    "pids-limit": "PidsLimit",
    "shm-size": "ShmSize",
    "storage-opt": "StorageOpt",
    "blkio-weight": "BlkioWeight",
    "volume-driver": "VolumeDriver",
    "cidfile": "ContainerIDFile",
    **BLOCK_DEVICES,
}
MAPS = ("annotation", "storage-opt")
NAMESPACES = {  # flag: the kind that docker calls it, what it may be
    "pid": ("PID", ("host",)),
    "uts": ("UTS", ("host",)),
    "userns": ("USER", ("host",)),
    "cgroupns": ("CGROUP", ("host", "private")),
}


def build(parsed: "Parsed", bindings: "dict[str, Any]", binds: "list[str]") -> "dict[str, Any]":
    """The whole HostConfig; raises ``UsageError``."""
    _check_namespaces(parsed)
    networks = parsed["network"]
    host: dict[str, Any] = {
        "Binds": binds,
        "PortBindings": bindings,
        "PublishAllPorts": parsed["publish-all"],
        "NetworkMode": networks[0]["name"] if networks else "default",
        "RestartPolicy": restart_policy(parsed["restart"]),
        "AutoRemove": parsed["rm"],
        "Privileged": parsed["privileged"],
        "ReadonlyRootfs": parsed["read-only"],
        "CapAdd": _capabilities(parsed["cap-add"]),
        "CapDrop": _capabilities(parsed["cap-drop"]),
        "GroupAdd": parsed["group-add"],
        "Dns": parsed["dns"],
        "DnsOptions": parsed["dns-option"],
        "DnsSearch": parsed["dns-search"],
        "ExtraHosts": parsed["add-host"],
        "VolumesFrom": parsed["volumes-from"],
        "PidMode": parsed["pid"],
        "IpcMode": parsed["ipc"],
        "UTSMode": parsed["uts"],
        "UsernsMode": parsed["userns"],
        "CgroupnsMode": parsed["cgroupns"],
        "CgroupParent": parsed["cgroup-parent"],
        "Runtime": parsed["runtime"],
        "Isolation": parsed["isolation"],
        "OomScoreAdj": parsed["oom-score-adj"],
        "CpuShares": parsed["cpu-shares"],
        "CpuPeriod": parsed["cpu-period"],
        "CpuQuota": parsed["cpu-quota"],
        "CpusetCpus": parsed["cpuset-cpus"],
        "CpusetMems": parsed["cpuset-mems"],
        "Mounts": parsed["mount"],
        "Tmpfs": {
            path: options for path, _, options in (t.partition(":") for t in parsed["tmpfs"])
        },
        "Sysctls": dict(parsed["sysctl"]),
        "Ulimits": parsed["ulimit"],
        "LogConfig": {"Type": parsed["log-driver"], "Config": dict(parsed["log-opt"])},
    }
    _rare(host, parsed)
    if parsed["rm"] and host["RestartPolicy"]["Name"] not in ("", "no"):
        raise UsageError("conflicting options: cannot specify both --restart and --rm")
    return host


def _check_namespaces(parsed: "Parsed") -> None:
    for flag, (kind, known) in NAMESPACES.items():
        mode = parsed[flag]
        of_another = flag == "pid" and mode.startswith("container:")
        if mode and mode not in known and not of_another:
            raise UsageError(f"--{flag}: invalid {kind} mode")


def _rare(host: "dict[str, Any]", parsed: "Parsed") -> None:
    """What few containers have, left out of the request for the others."""
    for flag, field in RARE.items():
        if flag in parsed.given:
            host[field] = dict(parsed[flag]) if flag in MAPS else parsed[flag]
    if parsed["memory-swappiness"] == -1:
        host.pop("MemorySwappiness", None)
    if parsed["tty"]:
        from ketch.cli import terminal

        height, width = terminal.size()
        if height:
            host["ConsoleSize"] = [height, width]
    if parsed["security-opt"]:
        from ketch.cli import security_flag

        host.update(security_flag.parse(parsed["security-opt"]))
    if parsed["device"] or parsed["gpus"]:
        from ketch.cli import device_flag

        host.update(device_flag.parse(parsed["device"], parsed["gpus"]))


def _capabilities(words: "list[str]") -> "list[str]":
    """``net_admin`` → ``CAP_NET_ADMIN``; ``ALL`` stays."""
    found = {word.strip().upper() for word in words}
    return sorted(
        word if word == "ALL" or word.startswith("CAP_") else f"CAP_{word}" for word in found
    )


def restart_policy(text: str) -> "dict[str, Any]":
    """``on-failure:3`` → the API's object; raises ``UsageError``."""
    name, colon, count = text.partition(":")
    if colon and not name:
        raise UsageError("invalid restart policy format: no policy provided before colon")
    if count and not count.removeprefix("-").isdigit():
        raise UsageError("invalid restart policy format: maximum retry count must be an integer")
    return {"Name": name, "MaximumRetryCount": int(count or 0)}
