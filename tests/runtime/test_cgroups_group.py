"""Control groups on this machine's hierarchies, and the pure parts of both versions."""

from __future__ import annotations

import contextlib
import os
import signal
import time
from collections.abc import Iterator

import pytest
from sandbox_runner import within

from ketch.errors import InvalidParameter, Unsupported
from ketch.runtime.cgroups import device_program, devices, files, v2
from ketch.runtime.cgroups.group import Cgroup, check_path, join_here
from ketch.runtime.cgroups.hierarchy import parse_mountinfo

HYBRID = """\
30 23 0:29 / /sys/fs/cgroup/cpu,cpuacct rw,relatime shared:9 - cgroup cgroup rw,cpu,cpuacct
31 23 0:30 / /sys/fs/cgroup/systemd rw - cgroup cgroup rw,xattr,release_agent=/x,name=systemd
32 23 0:31 / /sys/fs/cgroup/unified rw - cgroup2 cgroup2 rw,nsdelegate
33 23 0:32 / /mnt/again rw - cgroup cgroup rw,cpu,cpuacct
34 23 0:33 / /home rw - ext4 /dev/vda rw
"""


def test_hierarchies_of_a_hybrid_machine() -> None:
    found = parse_mountinfo(HYBRID.splitlines())
    assert [(one.version, one.mount, one.controllers) for one in found] == [
        (1, "/sys/fs/cgroup/cpu,cpuacct", ("cpu", "cpuacct")),
        (1, "/sys/fs/cgroup/systemd", ("name=systemd",)),
        (2, "/sys/fs/cgroup/unified", ()),
    ]


@pytest.mark.parametrize(
    ("parent", "name"),
    [("", "x"), ("/", "x"), ("/a/../b", "x"), ("..", "x"), ("/a", ""), ("/a", "b/c"), ("/a", ".."),
     ("/a\0", "x"), ("/a", "x\0")],
)  # fmt: skip
def test_paths_that_could_lead_elsewhere(parent: str, name: str) -> None:
    with pytest.raises(InvalidParameter):
        check_path(parent, name)


def test_weights_of_shares() -> None:
    assert [v2.weight_of_shares(shares) for shares in (1, 2, 1024, 262144, 1 << 30)] == [
        1, 1, 39, 10000, 10000,
    ]  # fmt: skip


def test_rule_lines() -> None:
    assert devices.rule_line({"type": "c", "major": 1, "minor": 3, "access": "rw"}) == "c 1:3 rw"
    assert devices.rule_line({"type": "b", "major": -1}) == "b *:* rwm"
    assert devices.rule_line({"type": "u", "major": 136}) == "c 136:* rwm"


@pytest.fixture
def group(cgroup_parent: str) -> Iterator[Cgroup]:
    made = Cgroup(cgroup_parent, f"g{time.monotonic_ns()}")
    made.create()
    yield made
    made.kill()
    made.remove()


def enter(tasks: list[int], unified: int) -> None:
    """Move the caller, on v2 too, where a container's first process is born inside."""
    join_here(tasks)
    if unified >= 0:
        procs = os.open("cgroup.procs", os.O_WRONLY, dir_fd=unified)
        os.write(procs, b"0")
        os.close(procs)


@contextlib.contextmanager
def sleeper(group: Cgroup) -> Iterator[int]:
    """A process inside that does nothing."""
    tasks, unified = group.open_doors()
    ready, told = os.pipe()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            enter(tasks, unified)
            os.write(told, b"x")
            signal.pause()
        os._exit(0)
    os.close(told)
    for fd in tasks:
        os.close(fd)
    if unified >= 0:
        os.close(unified)
    assert os.read(ready, 1) == b"x"
    os.close(ready)
    try:
        yield pid
    finally:
        with contextlib.suppress(ProcessLookupError):
            os.kill(pid, signal.SIGKILL)
        group.freeze(False)
        os.waitpid(pid, 0)


@pytest.mark.root
def test_joining_waits_for_no_grace_period(group: Cgroup) -> None:
    tasks, unified = group.open_doors()
    os.close(unified) if unified >= 0 else None

    def join() -> float:
        before = time.perf_counter()
        join_here(list(tasks))
        return time.perf_counter() - before

    seconds = [within(join) for _ in range(7)]  # a grace period costs 5 ms at least, each time
    for fd in tasks:
        os.close(fd)
    assert min(seconds) < 0.005, seconds


@pytest.mark.root
def test_limits(group: Cgroup) -> None:
    group.apply({
        "memory": {"limit": 64 << 20, "swap": 96 << 20, "reservation": 32 << 20},
        "cpu": {"shares": 512, "quota": 50000, "period": 100000, "cpus": "0"},
        "pids": {"limit": 33},
    })  # fmt: skip
    found = group.directory_of("memory")
    assert found is not None
    if found[0] == 1:
        assert files.read(found[1], "memory.limit_in_bytes") == str(64 << 20)
        assert files.read(found[1], "memory.memsw.limit_in_bytes") == str(96 << 20)
        group.apply({"memory": {"limit": 128 << 20, "swap": 256 << 20}})
        group.apply({"memory": {"limit": 16 << 20, "swap": 16 << 20}})
        assert files.read(found[1], "memory.memsw.limit_in_bytes") == str(16 << 20)
    pids = group.directory_of("pids")
    assert pids is not None
    assert files.read(pids[1], "pids.max") == "33"


@pytest.mark.root
def test_refusals_name_the_option(group: Cgroup) -> None:
    with pytest.raises(Unsupported, match=r"cpu\.cpus = 7777"):
        group.apply({"cpu": {"cpus": "7777"}})
    with pytest.raises(Unsupported, match="hugepageLimits"):
        group.apply({"hugepageLimits": [{"pageSize": "3MB", "limit": 1}]})
    with pytest.raises(Unsupported, match="classID"):
        group.apply({"network": {"classID": 5}})


@pytest.mark.root
def test_freeze_kill_and_remove(group: Cgroup) -> None:
    with sleeper(group) as pid:
        assert group.pids() == [pid]
        group.freeze()
        group.freeze(False)
        group.freeze()
        group.kill()
        assert os.waitstatus_to_exitcode(
            os.waitid(os.P_PID, pid, os.WEXITED | os.WNOWAIT).si_status
        )
    group.remove()
    assert not os.path.exists(group.directory(group.hierarchies[0]))
    group.remove()  # no error when it is gone


@pytest.mark.root
def test_rename_keeps_members(group: Cgroup) -> None:
    with sleeper(group) as pid:
        group.rename("renamed" + group.name)
        assert group.pids() == [pid]
        assert Cgroup.from_wire(group.to_wire()).describe() == group.describe()


@pytest.mark.root
def test_nested_groups_are_removed_too(group: Cgroup) -> None:
    for hierarchy in group.hierarchies:
        os.mkdir(group.directory(hierarchy) + "/inner")
    group.remove()


@pytest.mark.root
def test_device_program_on_v2(group: Cgroup) -> None:
    """The eBPF program decides as v1's files would: the last rule that matches, and of two
    programs the last one alone."""
    unified = [one for one in group.hierarchies if one.version == 2]
    if not unified:
        pytest.skip("no cgroup v2 hierarchy is mounted")
    directory = group.directory(unified[0])
    rules = [
        {"allow": False, "access": "rwm"},
        {"allow": True, "type": "c", "access": "m"},
        {"allow": True, "type": "c", "major": 1, "minor": 3, "access": "rwm"},
        {"allow": True, "type": "c", "major": 1, "minor": 9, "access": "rw"},
        {"allow": False, "type": "c", "major": 1, "minor": 9, "access": "w"},
    ]
    device_program.attach(directory, [{"allow": False, "access": "rwm"}])  # as the pool does
    device_program.attach(directory, rules)

    def look() -> list[str]:
        files.write(directory, "cgroup.procs", "0")
        opened = []
        for path, flags in (("null", os.O_RDWR), ("zero", os.O_RDONLY), ("urandom", os.O_RDONLY),
                            ("urandom", os.O_WRONLY)):  # fmt: skip
            try:
                os.close(os.open("/dev/" + path, flags))
                opened.append(f"{path} {flags}")
            except PermissionError:
                continue
        return opened

    assert within(look) == [f"null {os.O_RDWR}", f"urandom {os.O_RDONLY}"]


def test_device_programs_end_where_nothing_more_can_match() -> None:
    everything = [{"allow": True, "access": "rwm"}]
    assert len(device_program.compile_rules(everything)) == (6 + 2) * 8
    assert len(device_program.compile_rules([])) == (6 + 2) * 8


@pytest.mark.root
def test_out_of_memory_is_counted(group: Cgroup) -> None:
    group.apply({"memory": {"limit": 32 << 20, "swap": 32 << 20}})
    assert group.oom_kills() == 0
    tasks, unified = group.open_doors()
    pid = os.fork()
    if pid == 0:
        with contextlib.suppress(BaseException):
            enter(tasks, unified)
            _ = b"x" * (256 << 20)
        os._exit(0)
    for fd in [*tasks, unified]:
        os.close(fd) if fd >= 0 else None
    assert os.waitstatus_to_exitcode(os.waitpid(pid, 0)[1]) == -signal.SIGKILL
    assert group.oom_kills() == 1
