"""One sample of a container's counters, read from cgroup files and /proc; v1, hybrid and v2."""

from __future__ import annotations

import os
import time

from ketch.engine.containers.record import ContainerRecord
from ketch.engine.containers.stats_values import BlkioEntry, NetworkCounters, Stats

_TICKS = os.sysconf("SC_CLK_TCK")
_NS = 1_000_000_000
_CPUS = os.cpu_count() or 1
_MEMORY = os.sysconf("SC_PHYS_PAGES") * os.sysconf("SC_PAGE_SIZE")
_READ = 32 * 1024  # more than any of these files has
_NO_LIMIT = 1 << 60  # v1 says "no limit" with a number close to LONG_MAX


def sample(record: ContainerRecord, system: int) -> Stats | None:
    """Read everything there is; a file that is missing counts as zero. None when it does not run.

    ``system`` is ``system_cpu()``, which may be read once for many containers.
    """
    state = record.state
    if not state.running:
        return None
    cgroup = state.cgroup  # controller → directory; ``unified``: that of the v2 hierarchy
    on_v1 = cgroup.get("memory", "") != cgroup.get("unified", "")
    values: dict[str, object] = {
        "read_at": time.time_ns(),
        "online_cpus": _CPUS,
        "system_cpu": system,
        "networks": {} if record.spec.network_mode == "host" else _networks(state.pid),
    }
    values.update(_pids(cgroup))
    values.update(_v1(cgroup) if on_v1 else _v2(cgroup.get("unified", "")))
    return Stats(**values)  # type: ignore[arg-type]


def _v1(cgroup: dict[str, str]) -> dict[str, object]:
    cpu, memory = (cgroup.get(name, "") for name in ("cpuacct", "memory"))
    blkio = cgroup.get("blkio", "")
    ticks = _pairs(f"{cpu}/cpuacct.stat")
    throttle = _pairs(f"{cgroup.get('cpu', '')}/cpu.stat")
    return {
        "cpu_total": _number(f"{cpu}/cpuacct.usage"),
        "cpu_user": ticks.get("user", 0) * _NS // _TICKS,
        "cpu_kernel": ticks.get("system", 0) * _NS // _TICKS,
        "percpu": tuple(int(word) for word in _text(f"{cpu}/cpuacct.usage_percpu").split()),
        "throttling": tuple(
            throttle.get(name, 0) for name in ("nr_periods", "nr_throttled", "throttled_time")
        ),
        "memory_usage": _number(f"{memory}/memory.usage_in_bytes"),
        "memory_max_usage": _number(f"{memory}/memory.max_usage_in_bytes"),
        "memory_failcnt": _number(f"{memory}/memory.failcnt"),
        "memory_limit": _limit(f"{memory}/memory.limit_in_bytes"),
        "memory_stats": _pairs(f"{memory}/memory.stat"),
        "blkio_bytes": _blkio_v1(f"{blkio}/blkio.throttle.io_service_bytes_recursive"),
        "blkio_ops": _blkio_v1(f"{blkio}/blkio.throttle.io_serviced_recursive"),
    }


def _v2(folder: str) -> dict[str, object]:
    cpu = _pairs(f"{folder}/cpu.stat")
    io_bytes, io_ops = _blkio_v2(f"{folder}/io.stat")
    return {
        "cpu_total": cpu.get("usage_usec", 0) * 1000,
        "cpu_user": cpu.get("user_usec", 0) * 1000,
        "cpu_kernel": cpu.get("system_usec", 0) * 1000,
        "throttling": (
            cpu.get("nr_periods", 0),
            cpu.get("nr_throttled", 0),
            cpu.get("throttled_usec", 0) * 1000,
        ),
        "memory_usage": _number(f"{folder}/memory.current"),
        "memory_max_usage": _number(f"{folder}/memory.peak"),
        "memory_limit": _limit(f"{folder}/memory.max"),
        "memory_stats": _pairs(f"{folder}/memory.stat"),
        "blkio_bytes": io_bytes,
        "blkio_ops": io_ops,
    }


def _pids(cgroup: dict[str, str]) -> dict[str, object]:
    folder = cgroup.get("pids", "")
    return {
        "pids_current": _number(f"{folder}/pids.current"),
        "pids_limit": _number(f"{folder}/pids.max"),
    }


def _limit(path: str) -> int:
    """The memory limit; without one, the host's memory, as Docker says."""
    limit = _number(path)
    if 0 < limit < _NO_LIMIT:
        return limit
    return _MEMORY


def system_cpu() -> int:
    """The machine's CPU time of all kinds in ns (proc(5), /proc/stat)."""
    first = _text("/proc/stat").split("\n", 1)[0].split()
    return sum(int(word) for word in first[1:9]) * _NS // _TICKS


def _blkio_v1(path: str) -> tuple[BlkioEntry, ...]:
    entries = []
    for line in _text(path).splitlines():
        fields = line.split()
        if len(fields) == 3 and ":" in fields[0]:  # "8:0 Read 4096"; the last line is a total
            major, _, minor = fields[0].partition(":")
            entries.append(_entry(major, minor, fields[1], fields[2]))
    return tuple(entries)


def _blkio_v2(path: str) -> tuple[tuple[BlkioEntry, ...], tuple[BlkioEntry, ...]]:
    sizes, counts = [], []
    for line in _text(path).splitlines():
        device, *fields = line.split()
        major, _, minor = device.partition(":")
        values = dict(field.split("=", 1) for field in fields if "=" in field)
        for op, prefix in (("read", "r"), ("write", "w")):
            sizes.append(_entry(major, minor, op, values.get(f"{prefix}bytes", "0")))
            counts.append(_entry(major, minor, op, values.get(f"{prefix}ios", "0")))
    return tuple(sizes), tuple(counts)


def _entry(major: str, minor: str, op: str, value: str) -> BlkioEntry:
    return BlkioEntry(major=int(major), minor=int(minor), op=op, value=int(value))


def _networks(pid: int) -> dict[str, NetworkCounters]:
    """/proc/PID/net/dev of the container's network namespace, without loopback."""
    counters = {}
    for line in _text(f"/proc/{pid}/net/dev").splitlines()[2:]:
        name, _, rest = line.partition(":")
        numbers = [int(word) for word in rest.split()]
        if name.strip() != "lo" and len(numbers) >= 12:
            counters[name.strip()] = NetworkCounters(
                rx_bytes=numbers[0],
                rx_packets=numbers[1],
                rx_errors=numbers[2],
                rx_dropped=numbers[3],
                tx_bytes=numbers[8],
                tx_packets=numbers[9],
                tx_errors=numbers[10],
                tx_dropped=numbers[11],
            )
    return counters


def _pairs(path: str) -> dict[str, int]:
    pairs = (line.split() for line in _text(path).splitlines())
    return {pair[0]: int(pair[1]) for pair in pairs if len(pair) == 2 and pair[1].isdecimal()}


def _number(path: str) -> int:
    text = _text(path).strip()
    return int(text) if text.isdecimal() else 0


def _text(path: str) -> str:
    try:
        fd = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return ""
    try:
        return os.read(fd, _READ).decode()
    except OSError:
        return ""  # the cgroup or the process ended meanwhile
    finally:
        os.close(fd)
