"""Capability sets: names, capget(2)/capset(2), bounding and ambient sets (capabilities(7))."""

import ctypes

from ketch.linux.libc import check, libc

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

# fmt: off
_WORDS = (
    "CHOWN", "DAC_OVERRIDE", "DAC_READ_SEARCH", "FOWNER", "FSETID", "KILL", "SETGID", "SETUID",
    "SETPCAP", "LINUX_IMMUTABLE", "NET_BIND_SERVICE", "NET_BROADCAST", "NET_ADMIN", "NET_RAW",
    "IPC_LOCK", "IPC_OWNER", "SYS_MODULE", "SYS_RAWIO", "SYS_CHROOT", "SYS_PTRACE", "SYS_PACCT",
    "SYS_ADMIN", "SYS_BOOT", "SYS_NICE", "SYS_RESOURCE", "SYS_TIME", "SYS_TTY_CONFIG", "MKNOD",
    "LEASE", "AUDIT_WRITE", "AUDIT_CONTROL", "SETFCAP", "MAC_OVERRIDE", "MAC_ADMIN", "SYSLOG",
    "WAKE_ALARM", "BLOCK_SUSPEND", "AUDIT_READ", "PERFMON", "BPF", "CHECKPOINT_RESTORE",
)
# fmt: on
NAMES = tuple("CAP_" + word for word in _WORDS)  # in the order of linux/capability.h
NUMBERS = {name: index for index, name in enumerate(NAMES)}
SYS_ADMIN = 1 << NUMBERS["CAP_SYS_ADMIN"]

PR_CAPBSET_READ, PR_CAPBSET_DROP = 23, 24
PR_CAP_AMBIENT, AMBIENT_RAISE, AMBIENT_CLEAR_ALL = 47, 2, 4
_VERSION_3 = 0x20080522
_MOST = 64  # bits of a set


def mask(names: "Iterable[str]") -> int:
    """Bits of the named capabilities; names that this table does not know raise KeyError."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return bits


def names(bits: int) -> "list[str]":
    """Names of a mask's bits, in the kernel's order."""
    return [name for index, name in enumerate(NAMES) if bits >> index & 1]


def numbers(bits: int) -> "list[int]":
    """The numbers of the capabilities in a mask."""
    return [number for number in range(_MOST) if bits >> number & 1]


def bounding() -> int:
    """The caller's bounding set, with what the kernel has beyond this table."""
    bits = 0
    for number in range(_MOST):
        found = libc.prctl(PR_CAPBSET_READ, number, 0, 0, 0)
        if found < 0:
            break  # EINVAL: the kernel has no such capability
        bits |= found << number
    return bits


def last() -> int:
    """The highest capability number of the running kernel."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        return int(file.read())


def drop_bounding(keep: int, held: int) -> None:
    """Take everything out of the bounding set, ``held``, but ``keep``; needs CAP_SETPCAP."""
    for number in numbers(held & ~keep):
        check(libc.prctl(PR_CAPBSET_DROP, number, 0, 0, 0), f"capability {number}")


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def get() -> "tuple[int, int, int]":
    """(effective, permitted, inheritable) of the caller."""
    data = (ctypes.c_uint32 * 6)()
    check(libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(data)))
    return (data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32)


def header() -> ctypes.Structure:
    """What capset(2) wants first, for the calling thread."""
    return _Header(_VERSION_3, 0)


def data(effective: int, permitted: int, inheritable: int) -> "ctypes.Array[ctypes.c_uint32]":
    """The three sets as capset(2) wants them."""
    low, high = 0xFFFFFFFF, 32
    return (ctypes.c_uint32 * 6)(
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )


def set_(effective: int, permitted: int, inheritable: int) -> None:
    """Replace the three sets of the calling thread; EPERM when ``permitted`` would grow."""
    sets = data(effective, permitted, inheritable)
    check(libc.capset(ctypes.byref(header()), ctypes.byref(sets)))


def clear_ambient() -> None:
    """Empty the ambient set."""
    zero = ctypes.c_ulong(0)
    check(libc.prctl(PR_CAP_AMBIENT, ctypes.c_ulong(AMBIENT_CLEAR_ALL), zero, zero, zero))
