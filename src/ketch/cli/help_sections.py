"""Sections of help pages with many flags: what belongs together stands together."""

RUN = (
    ("Options", (
        "name", "detach", "interactive", "tty", "rm", "env", "env-file", "publish", "publish-all",
        "volume", "mount", "tmpfs", "workdir", "user", "entrypoint", "restart", "init", "label",
        "label-file", "cidfile", "attach", "detach-keys", "sig-proxy", "stop-signal",
        "stop-timeout",
    )),
    ("Image", ("pull", "platform", "quiet", "disable-content-trust", "build")),
    ("Limits", (
        "memory", "memory-reservation", "memory-swap", "memory-swappiness", "kernel-memory",
        "oom-kill-disable", "oom-score-adj", "cpus", "cpu-shares", "cpu-period", "cpu-quota",
        "cpu-rt-period", "cpu-rt-runtime", "cpuset-cpus", "cpuset-mems", "pids-limit", "ulimit",
        "shm-size", "blkio-weight", "blkio-weight-device", "device-read-bps", "device-read-iops",
        "device-write-bps", "device-write-iops", "storage-opt", "cgroup-parent",
    )),
    ("Network", (
        "network", "network-alias", "hostname", "domainname", "ip", "ip6", "mac-address", "dns",
        "dns-option", "dns-search", "add-host", "expose", "link", "link-local-ip",
    )),
    ("Files and devices", (
        "volumes-from", "volume-driver", "read-only", "device", "device-cgroup-rule", "gpus",
    )),
    ("Security and namespaces", (
        "privileged", "cap-add", "cap-drop", "security-opt", "group-add", "pid", "ipc", "uts",
        "userns", "cgroupns", "sysctl", "runtime", "isolation", "use-api-socket",
    )),
    ("Health", (
        "health-cmd", "health-http", "health-tcp", "health-status", "health-interval",
        "health-timeout", "health-retries", "health-start-period", "health-start-interval",
        "health-on-failure", "no-healthcheck",
    )),
    ("Log", ("log-driver", "log-opt", "annotation")),
)  # fmt: skip
SECTIONS: "dict[str, tuple[tuple[str, tuple[str, ...]], ...]]" = {
    "run:run": RUN,
    "run:create": RUN,
}
REST = "Other"
