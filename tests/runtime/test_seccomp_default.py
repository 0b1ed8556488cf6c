"""The default profile, evaluated for every ABI of x86_64."""

import platform

import pytest
from seccomp_machine import ABIS, call, run

from ketch.linux.capabilities import NAMES
from ketch.runtime.defaults import CAPABILITIES
from ketch.runtime.seccomp import compiler
from ketch.runtime.seccomp.numbers import number_of
from ketch.runtime.seccomp.profile import default_profile
from ketch.runtime.seccomp.rules import ALLOW, ENOSYS, EPERM, ERRNO, KILL_PROCESS

pytestmark = pytest.mark.skipif(platform.machine() != "x86_64", reason="evaluates x86 ABIs")

REFUSED, ABSENT = ERRNO | EPERM, ERRNO | ENOSYS
DEFAULT = compiler.program(default_profile(frozenset(CAPABILITIES)))
EVERYTHING = compiler.program(default_profile(frozenset(NAMES)))
AF_ALG, AF_VSOCK = 38, 40
EVERY_ABI = pytest.mark.parametrize("abi", ABIS)


@EVERY_ABI
@pytest.mark.parametrize(
    "name",
    [
        "read",
        "execve",
        "openat2",
        "mknod",
        "ptrace",
        "futex",
        "landlock_create_ruleset",
        "mseal",
        "fchmodat2",
        "setxattrat",
        "clock_gettime",
        "prctl",
        "chroot",
        "sendmsg",
        "sendmmsg",
    ],
)
def test_ordinary_calls_are_allowed(abi, name):
    assert call(DEFAULT, abi, name) == ALLOW


@EVERY_ABI
@pytest.mark.parametrize(
    "name",
    [
        "mount",
        "umount2",
        "unshare",
        "setns",
        "bpf",
        "keyctl",
        "add_key",
        "request_key",
        "kcmp",
        "io_uring_setup",
        "io_uring_enter",
        "io_uring_register",
        "userfaultfd",
        "swapon",
        "acct",
        "perf_event_open",
        "init_module",
        "kexec_load",
        "reboot",
        "open_by_handle_at",
        "syslog",
        "settimeofday",
        "clock_settime",
        "iopl",
        "ioperm",
        "quotactl",
        "move_mount",
        "fsopen",
        "sethostname",
        "pivot_root",
        "mbind",
        "set_mempolicy",
        "vhangup",
        "lookup_dcookie",
    ],
)
def test_dangerous_calls_are_refused(abi, name):
    assert call(DEFAULT, abi, name) == REFUSED


@EVERY_ABI
def test_socket_families(abi):
    for family in (1, 2, 10, 16, 17, 31, 39, 44):
        assert call(DEFAULT, abi, "socket", family) == ALLOW
    for family in (AF_ALG, AF_VSOCK, 12, 46, 1 << 31):
        assert call(DEFAULT, abi, "socket", family) == REFUSED


@EVERY_ABI
def test_a_family_with_high_bits_is_no_way_round(abi):
    for family in (AF_ALG, AF_VSOCK):
        assert call(DEFAULT, abi, "socket", family | 1 << 32) == REFUSED
        assert call(DEFAULT, abi, "socket", family | 0xFFFFFFFF << 32) == REFUSED


def test_socketcall_makes_no_sockets():
    assert call(DEFAULT, "i386", "socketcall", 1) == ABSENT
    assert call(DEFAULT, "i386", "socketcall", 1 | 1 << 32) == ABSENT
    assert call(DEFAULT, "i386", "socketcall", 3) == ALLOW


@EVERY_ABI
def test_clone_makes_no_namespaces(abi):
    assert call(DEFAULT, abi, "clone", 0x3D0F00) == ALLOW  # a thread
    assert call(DEFAULT, abi, "clone", 17) == ALLOW
    for bit in (17, 25, 26, 27, 28, 29, 30):
        assert call(DEFAULT, abi, "clone", 17 | 1 << bit) == REFUSED
    assert call(DEFAULT, abi, "clone3") == ABSENT


@EVERY_ABI
def test_personalities(abi):
    for value in (0, 8, 0x20000, 0x20008, 0xFFFFFFFF):
        assert call(DEFAULT, abi, "personality", value) == ALLOW
    for value in (0x40000, 0x400000, 0xFFFFFFFE, 1 << 32):
        assert call(DEFAULT, abi, "personality", value) == REFUSED


@EVERY_ABI
def test_capabilities_open_what_is_theirs(abi):
    for name in ("mount", "unshare", "clone3", "bpf", "reboot", "syslog", "acct", "mbind", "iopl"):
        assert call(EVERYTHING, abi, name) == ALLOW
    assert call(EVERYTHING, abi, "clone", 1 << 28) == ALLOW
    assert call(EVERYTHING, abi, "io_uring_setup") == REFUSED
    assert call(EVERYTHING, abi, "socket", AF_ALG) == REFUSED


@EVERY_ABI
@pytest.mark.parametrize(
    ("capability", "name"),
    [
        ("CAP_SYS_MODULE", "finit_module"),
        ("CAP_SYS_TIME", "clock_settime"),
        ("CAP_BPF", "bpf"),
        ("CAP_PERFMON", "perf_event_open"),
        ("CAP_SYS_PTRACE", "kcmp"),
        ("CAP_DAC_READ_SEARCH", "open_by_handle_at"),
        ("CAP_SYS_CHROOT", "chroot"),
    ],
)
def test_one_capability_each(abi, capability, name):
    alone = compiler.program(default_profile(frozenset([capability])))
    assert call(alone, abi, name) == ALLOW
    assert call(compiler.program(default_profile(frozenset())), abi, name) == REFUSED


@EVERY_ABI
def test_no_number_is_allowed_that_is_not_named(abi):
    numbers = {
        number_of(ABIS[abi], name)
        for rule in default_profile(frozenset(CAPABILITIES)).rules
        if rule.action == ALLOW
        for name in rule.names
    }
    base = 0x40000000 if abi == "x32" else 0
    for number in range(base, base + 700):
        allowed = run(DEFAULT, ABIS[abi].audit, number) == ALLOW
        assert not allowed or number in numbers, number


def test_numbers_of_the_future_are_absent():
    audit = ABIS["x86_64"].audit
    assert run(DEFAULT, audit, 500) == ABSENT
    assert run(DEFAULT, audit, 0x40000000 + 700) == ABSENT
    assert run(DEFAULT, audit, 0x3FFFFFFF) == ABSENT


def test_foreign_machines_are_killed():
    assert run(DEFAULT, 0xC00000B7, 63) == KILL_PROCESS
