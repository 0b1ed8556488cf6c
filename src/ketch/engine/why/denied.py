"""What the last lines of a log let one guess: denied calls, clashes, full disks (pure).

The kernel tells nobody which system call it has denied, so this is never more than ``likely``.
"""

from __future__ import annotations

import re
from collections.abc import Iterable

from ketch.engine.containers.record import ContainerRecord
from ketch.engine.spec.oci import capabilities
from ketch.engine.why.values import LIKELY, POSSIBLE, Finding

_DENIED = re.compile(r"operation not permitted|permission denied|\bEPERM\b|\bEACCES\b", re.I)
_NEEDS = (  # words of programs that failed → the capability that such a program needs
    (r"iptables|nftables|ip6tables|rtnetlink|tunsetiff|/dev/net/tun|ip link|ip route", "NET_ADMIN"),
    (r"\bping6?\b|raw socket|icmp|packet socket|sock_raw", "NET_RAW"),
    (r"ptrace|strace|\bgdb\b|process_vm", "SYS_PTRACE"),
    (r"settimeofday|clock_settime|adjtime|can't set date|cannot set date", "SYS_TIME"),
    (r"mknod", "MKNOD"),
    (r"chroot", "SYS_CHROOT"),
    (r"insmod|modprobe|init_module", "SYS_MODULE"),
    (r"chown|changing ownership", "CHOWN"),
    (r"chmod|changing permissions|setting times", "FOWNER"),
    (r"setuid|seteuid|setgid|setgroups|initgroups|\bsu:|gosu|su-exec|switch(ing)? user", "SETUID"),
    (r"setrlimit|ulimit|rlimit|oom_score_adj", "SYS_RESOURCE"),
    (r"setpriority|\bnice\b|sched_set", "SYS_NICE"),
    (r"mlock", "IPC_LOCK"),
    (r"\bbpf\b", "BPF"),
    (r"perf_event|\bperf\b", "PERFMON"),
    (r"syslog|klogctl|dmesg", "SYSLOG"),
    (r"\bbind\b|listen tcp|listening|socket address", "NET_BIND_SERVICE"),
    (r"u?mount|pivot_root|unshare|setns|sethostname|overlay|swapon", "SYS_ADMIN"),
    (r"\bkill\b", "KILL"),
)
_RULES = tuple((re.compile(words, re.I), name) for words, name in _NEEDS)
_SECCOMP = re.compile(
    r"io_uring|keyctl|add_key|unshare|userfaultfd|clone|personality|kexec|ptrace|perf_event|\bbpf\b",
    re.I,
)
_READ_ONLY = re.compile(r"read-only file system|\bEROFS\b", re.I)
_FULL = re.compile(r"no space left on device|\bENOSPC\b|disk quota exceeded", re.I)
_LIBRARY = re.compile(
    r"error while loading shared libraries: (\S+?):|Error loading shared library (\S+?):"
)
_LOOKUP = re.compile(r"(?:^|\s)['\"]?([\w./+-]+)['\"]?: (?:command )?not found")
_REFUSED = re.compile(r"(?:^|\s)['\"]?([\w./+-]+)['\"]?: permission denied", re.I)
_MEMORY = re.compile(r"out of memory|cannot allocate memory|\bENOMEM\b", re.I)
_TASKS = re.compile(r"resource temporarily unavailable|can't fork|cannot fork|fork failed", re.I)


def findings(record: ContainerRecord, lines: Iterable[str]) -> list[Finding]:
    """One for each kind of thing, the latest line first."""
    found: dict[str, Finding] = {}
    for line in reversed([line.strip() for line in lines]):
        for look in (_denied, _read_only, _space, _library, _limits):
            finding = look(record, line)
            if finding is not None:
                found.setdefault(finding.kind, finding)
    return list(found.values())


def failed_command(lines: Iterable[str], code: int) -> str:
    """What a shell did not find (127) or could not execute (126), by the log's last lines.

    Empty when they name none.
    """
    pattern = _LOOKUP if code == 127 else _REFUSED
    for line in reversed(list(lines)):
        match = pattern.search(line.strip())
        if match is not None:
            return match[1]
    return ""


def _denied(record: ContainerRecord, line: str) -> Finding | None:
    if _DENIED.search(line) is None:
        return None
    held = capabilities(record.spec)["effective"]
    needed = next((f"CAP_{name}" for words, name in _RULES if words.search(line)), "")
    user = record.spec.user.partition(":")[0]
    if user not in ("", "0", "root"):
        hint = f"it runs as the user {user}, who has no capabilities"
        hint += f" (this takes {needed})" if needed else " and may not have the right to that file"
        return _guess("denied", line, hint, LIKELY, needed)
    if needed and needed not in held:
        hint = f"it has no {needed}: --cap-add {needed[4:]} would give it"
        return _guess("denied", line, hint, LIKELY, needed)
    if _SECCOMP.search(line) and not _unconfined(record):
        hint = "the seccomp profile denies that call (try --security-opt seccomp=unconfined)"
        return _guess("denied", line, hint, POSSIBLE)
    dropped = [name for name in record.spec.cap_drop if name]
    if dropped:
        hint = f"the capabilities {', '.join(dropped)} were taken from it"
        return _guess("denied", line, hint, POSSIBLE)
    return _guess("denied", line, "the modes of a file, a capability or seccomp", POSSIBLE)


def _unconfined(record: ContainerRecord) -> bool:
    options = {option.replace(":", "=", 1) for option in record.spec.security_options}
    return record.spec.privileged or "seccomp=unconfined" in options


def _read_only(record: ContainerRecord, line: str) -> Finding | None:
    if _READ_ONLY.search(line) is None:
        return None
    mounts = [point.target for point in record.mount_points if not point.writable]
    hit = next((target for target in mounts if target in line), "")
    if hit:
        return _guess("read-only", line, f"{hit} is mounted read-only", LIKELY)
    if record.spec.read_only_rootfs:
        return _guess("read-only", line, "its root is read-only (--read-only)", LIKELY)
    return _guess("read-only", line, "/proc/sys, /sys and the like are read-only in it", POSSIBLE)


def _space(record: ContainerRecord, line: str) -> Finding | None:
    if _FULL.search(line) is None:
        return None
    hint = "the disk, a volume or a tmpfs such as /dev/shm is full"
    return _guess("disk", line, hint, POSSIBLE)


def _library(record: ContainerRecord, line: str) -> Finding | None:
    match = _LIBRARY.search(line)
    if match is None:
        return None
    name = match[1] or match[2]
    text = f"The dynamic loader did not find the shared library {name} in the image."
    return Finding(kind="library", text=text, certainty=LIKELY, details={"library": name})


def _limits(record: ContainerRecord, line: str) -> Finding | None:
    limits = record.spec.resources
    if _TASKS.search(line) and limits.pids_limit:
        hint = f"it may have {limits.pids_limit} processes at most (--pids-limit)"
        return _guess("pids", line, hint, LIKELY)
    if _MEMORY.search(line) and limits.memory:
        return _guess("memory", line, f"its memory limit is {limits.memory} bytes", POSSIBLE)
    return None


def _guess(kind: str, line: str, hint: str, certainty: str, capability: str = "") -> Finding:
    verb = "Probably" if certainty == LIKELY else "Possibly"
    return Finding(
        kind=kind,
        text=f'Its log says "{line[:200]}". {verb}: {hint}.',
        certainty=certainty,
        details={"capability": capability} if capability else {},
    )
