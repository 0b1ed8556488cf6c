"""Runs inside a sandbox: tries what a container must not be able to do, prints JSON.

Self-contained; ``python sandbox_probe.py`` prints {"name": what happened}.
"""

import ctypes
import json
import os
import socket
import stat

libc = ctypes.CDLL(None, use_errno=True)


def call(number, *args):
    result = libc.syscall(number, *args)
    return "ok" if result >= 0 else os.strerror(ctypes.get_errno())


def opened(path, flags):
    os.close(os.open(path, flags))


def attempt(body, *args):
    try:
        body(*args)
    except OSError as error:
        return error.strerror
    return "ok"


def content(path):
    with open(path) as file:
        return file.read()


def status():
    with open("/proc/self/status") as file:
        pairs = (line.split(":", 1) for line in file)
        wanted = ("Cap", "Seccomp", "NoNewPrivs", "Groups")
        return {key: value.strip() for key, value in pairs if key.startswith(wanted)}


def mounts():
    found = {}
    with open("/proc/self/mountinfo") as file:
        for line in file:
            before, _, after = line.partition(" - ")
            fields, tail = before.split(), after.split()
            found[fields[4]] = {
                "options": fields[5].split(","), "type": tail[0], "super": tail[2],
                "peers": [word for word in fields[6:] if word != "-"],
            }  # fmt: skip
    return found


def syscalls():
    null = ctypes.c_void_p(0)
    return {
        "init_module": call(175, null, 0, null),
        "kexec_load": call(246, 0, 0, null, 0),
        "bpf": call(321, 0, null, 0),
        "perf_event_open": call(298, null, 0, -1, -1, 0),
        "io_uring_setup": call(425, 8, null),
        "userfaultfd": call(323, 0),
        "keyctl": call(250, 0, -3, 1),
        "add_key": call(248, b"user", b"k", b"v", 1, -3),
        "swapon": call(167, b"/dev/null", 0),
        "reboot": call(169, 0, 0, 0, null),
        "clock_settime": call(227, 0, ctypes.byref((ctypes.c_long * 2)(0, 0))),
        "settimeofday": call(164, ctypes.byref((ctypes.c_long * 2)(0, 0)), null),
        "unshare_user": call(272, 0x10000000),
        "unshare_mount": call(272, 0x20000),
        "setns": call(308, 0, 0),
        "clone3": call(435, null, 0),
        "clone_newuser": call(56, 0x10000000 | 17, null, null, null, null),
        "mount": call(165, b"none", b"/tmp", b"tmpfs", 0, null),
        "umount": call(166, b"/proc/kcore", 0),
        "pivot_root": call(155, b".", b"."),
        "open_by_handle_at": call(304, -1, null, 0),
        "personality_addr_no_randomize": call(135, 0x0040000),
        "acct": call(163, null),
        "quotactl": call(179, 0, null, 0, null),
        "iopl": call(172, 3),
        "syslog": call(103, 3, null, 0),
        "sethostname": call(170, b"x", 1),
        "fsopen": call(430, b"tmpfs", 0),
        "chroot": call(161, b"/"),
    }


def sockets():
    def make(family, kind):
        return attempt(lambda: socket.socket(family, kind).close())

    return {
        "alg": make(38, socket.SOCK_SEQPACKET),
        "alg_high_bit": call(41, ctypes.c_long((1 << 32) | 38), 5, 0),
        "vsock": make(40, socket.SOCK_STREAM),
        "inet": make(socket.AF_INET, socket.SOCK_STREAM),
        "packet": make(socket.AF_PACKET, socket.SOCK_RAW),
        "icmp": attempt(lambda: socket.socket(socket.AF_INET, socket.SOCK_DGRAM, 1).close()),
    }


def devices():
    """Every device number of interest, by a node of our own, for reading."""
    found = {}
    wanted = [("c", 1, minor) for minor in (1, 2, 3, 4, 5, 7, 8, 9, 11)]
    wanted += [("c", 5, 0), ("c", 5, 1), ("c", 5, 2), ("c", 10, 229), ("c", 10, 200)]
    wanted += [("c", 4, 0), ("c", 10, 232), ("c", 108, 0), ("b", 254, 0), ("b", 7, 0), ("b", 8, 0)]
    for kind, major, minor in wanted:
        path = f"/tmp/{kind}{major}-{minor}"
        mode = (stat.S_IFCHR if kind == "c" else stat.S_IFBLK) | 0o600
        flags = os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY
        made = attempt(os.mknod, path, mode, os.makedev(major, minor))
        found[f"{kind} {major}:{minor}"] = attempt(opened, path, flags) if made == "ok" else made
    return found


def writes():
    targets = [
        "/proc/sys/kernel/hostname", "/proc/sys/kernel/core_pattern", "/proc/sysrq-trigger",
        "/proc/irq/default_smp_affinity", "/sys/kernel/uevent_helper", "/proc/1/oom_score_adj",
        "/sys/fs/cgroup/devices/devices.allow", "/sys/fs/cgroup/memory/memory.limit_in_bytes",
        "/sys/fs/cgroup/cpu/cgroup.procs", "/sys/fs/cgroup/cpu/release_agent",
        "/sys/fs/cgroup/memory/notify_on_release", "/sys/fs/cgroup/cgroup.procs",
    ]  # fmt: skip
    return {path: attempt(opened, path, os.O_WRONLY) for path in targets}


def reads():
    names = "kcore keys timer_list interrupts latency_stats sched_debug"
    found = {}
    for path in ["/proc/" + name for name in names.split()]:
        try:
            with open(path, "rb") as file:
                found[path] = len(file.read(64))
        except OSError as error:
            found[path] = error.strerror
    for path in ("/proc/acpi", "/proc/scsi", "/proc/asound", "/sys/firmware",
                 "/sys/devices/virtual/powercap"):  # fmt: skip
        found[path] = len(os.listdir(path)) if os.path.isdir(path) else "missing"
    return found


def main():
    facts = {
        "status": status(), "mounts": mounts(), "sockets": sockets(), "devices": devices(),
        "writes": writes(), "reads": reads(), "fds": sorted(os.listdir("/proc/self/fd")),
        "dev": {name: oct(os.lstat("/dev/" + name).st_mode) for name in sorted(os.listdir("/dev"))},
        "cgroup": content("/proc/self/cgroup"),
        "ping": content("/proc/sys/net/ipv4/ping_group_range").split(),
        "ports": content("/proc/sys/net/ipv4/ip_unprivileged_port_start").strip(),
        "processes": [name for name in os.listdir("/proc") if name.isdigit()],
        "links": os.listdir("/sys/class/net"),
        "namespaces": {
            name: os.readlink("/proc/self/ns/" + name) for name in os.listdir("/proc/self/ns")
        },
    }  # fmt: skip
    facts["syscalls"] = syscalls()
    print(json.dumps(facts))


if __name__ == "__main__":
    main()
