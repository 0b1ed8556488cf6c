"""The default sandbox as OCI runtime spec pieces, as data.

Docker's defaults, so that images behave; the engine adds to and takes from these lists. Values are
never to be changed in place: take copies (``default_mounts()`` and friends give fresh ones).
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

# fmt: off
CAPABILITIES = (
    "CAP_CHOWN", "CAP_DAC_OVERRIDE", "CAP_FSETID", "CAP_FOWNER", "CAP_MKNOD", "CAP_NET_RAW",
    "CAP_SETGID", "CAP_SETUID", "CAP_SETFCAP", "CAP_SETPCAP", "CAP_NET_BIND_SERVICE",
    "CAP_SYS_CHROOT", "CAP_KILL", "CAP_AUDIT_WRITE",
)
MASKED_PATHS = (
    "/proc/acpi", "/proc/asound", "/proc/interrupts", "/proc/kcore", "/proc/keys",
    "/proc/latency_stats", "/proc/timer_list", "/proc/timer_stats", "/proc/sched_debug",
    "/proc/scsi", "/sys/firmware", "/sys/devices/virtual/powercap",
)
READONLY_PATHS = ("/proc/bus", "/proc/fs", "/proc/irq", "/proc/sys", "/proc/sysrq-trigger")
NAMESPACES = ("mount", "pid", "uts", "ipc", "network", "cgroup", "time")
# fmt: on

SYSCTLS = {"net.ipv4.ip_unprivileged_port_start": "0", "net.ipv4.ping_group_range": "0 2147483647"}
SHM_SIZE = 64 * 1024 * 1024
PATH = "/usr/local/sbin:/usr/local/bin:/usr/sbin:/usr/bin:/sbin:/bin"


def thermal_paths() -> "tuple[str, ...]":
    """``/sys/devices/system/cpu/cpu<n>/thermal_throttle`` for each possible CPU of this machine.

    Temperature and throttling leak what neighbours do; Docker masks them too.
    """
    try:
        with open("/sys/devices/system/cpu/possible", encoding="utf-8") as file:
            last = int(file.read().strip().rpartition("-")[2].rpartition(",")[2])
    except (OSError, ValueError):
        return ()
    return tuple(
        f"/sys/devices/system/cpu/cpu{number}/thermal_throttle" for number in range(last + 1)
    )


def masked_paths() -> "list[str]":
    """Everything that is hidden by default, thermal paths included."""
    return [*MASKED_PATHS, *thermal_paths()]


def default_mounts(shm_size: int = SHM_SIZE) -> "list[dict[str, Any]]":
    """OCI ``mounts``: proc, dev, sys, cgroup view and the small filesystems below /dev."""
    nosuid, noexec, nodev = "nosuid", "noexec", "nodev"
    shm = [nosuid, noexec, nodev, "mode=1777", f"size={shm_size}"]
    devpts = [nosuid, noexec, "newinstance", "ptmxmode=0666", "mode=0620", "gid=5"]
    tmpfs = [nosuid, "strictatime", "mode=755", "size=65536k"]
    return [
        _mount("/proc", "proc", "proc", [nosuid, noexec, nodev]),
        _mount("/dev", "tmpfs", "tmpfs", tmpfs),
        _mount("/dev/pts", "devpts", "devpts", devpts),
        _mount("/sys", "sysfs", "sysfs", [nosuid, noexec, nodev, "ro"]),
        _mount("/sys/fs/cgroup", "cgroup", "cgroup", ["ro", nosuid, noexec, nodev]),
        _mount("/dev/mqueue", "mqueue", "mqueue", [nosuid, noexec, nodev]),
        _mount("/dev/shm", "tmpfs", "shm", shm),
    ]


def _mount(target: str, type: str, source: str, options: "list[str]") -> "dict[str, Any]":
    return {"destination": target, "type": type, "source": source, "options": options}


# (path, major, minor): made in every /dev, mode 0666, owned by root.
DEVICES = (
    ("/dev/null", 1, 3),
    ("/dev/zero", 1, 5),
    ("/dev/full", 1, 7),
    ("/dev/random", 1, 8),
    ("/dev/urandom", 1, 9),
    ("/dev/tty", 5, 0),
)
DEVICE_LINKS = (
    ("/dev/fd", "/proc/self/fd"),
    ("/dev/stdin", "/proc/self/fd/0"),
    ("/dev/stdout", "/proc/self/fd/1"),
    ("/dev/stderr", "/proc/self/fd/2"),
    ("/dev/core", "/proc/kcore"),
    ("/dev/ptmx", "pts/ptmx"),
)


def device_rules() -> "list[dict[str, Any]]":
    """OCI ``linux.resources.devices``: nothing opens but the list; any node may be made."""
    rules: list[dict[str, Any]] = [{"allow": False, "access": "rwm"}]
    rules += [{"allow": True, "type": kind, "access": "m"} for kind in "cb"]
    for _, major, minor in DEVICES:
        rules.append(_device(major, minor))
    rules.append(_device(5, 2))  # /dev/ptmx
    rules.append(_device(136, None))  # /dev/pts/*
    return rules


def _device(major: int, minor: "int | None") -> "dict[str, Any]":
    rule: dict[str, Any] = {"allow": True, "type": "c", "major": major, "access": "rwm"}
    if minor is not None:
        rule["minor"] = minor
    return rule


def default_spec() -> "dict[str, Any]":
    """A whole OCI configuration for ``sh`` in ``rootfs``: what ``ketch-runtime spec`` writes."""
    capabilities = {kind: list(CAPABILITIES) for kind in ("bounding", "effective", "permitted")}
    return {
        "ociVersion": "1.2.0",
        "process": {
            "terminal": True,
            "user": {"uid": 0, "gid": 0},
            "args": ["sh"],
            "env": [f"PATH={PATH}", "TERM=xterm"],
            "cwd": "/",
            "capabilities": capabilities,
            "rlimits": [{"type": "RLIMIT_NOFILE", "hard": 1024, "soft": 1024}],
            "noNewPrivileges": True,
        },
        "root": {"path": "rootfs", "readonly": True},
        "hostname": "ketch",
        "mounts": default_mounts(),
        "linux": {
            "resources": {"devices": device_rules()},
            "namespaces": [{"type": kind} for kind in NAMESPACES],
            "maskedPaths": masked_paths(),
            "readonlyPaths": list(READONLY_PATHS),
        },
    }
