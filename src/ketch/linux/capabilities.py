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

_PR_CAPBSET_READ, _PR_CAPBSET_DROP = 23, 24
_PR_CAP_AMBIENT, _AMBIENT_RAISE, _AMBIENT_CLEAR_ALL = 47, 2, 4
_VERSION_3 = 0x20080522


def mask(names: "Iterable[str]") -> int:
    """Bits of the named capabilities; names that this table does not know raise KeyError."""
    bits = 0
    for name in names:
        bits |= 1 << NUMBERS[name]
    return bits


def names(bits: int) -> "list[str]":
    """Names of a mask's bits, in the kernel's order."""
    return [name for index, name in enumerate(NAMES) if bits >> index & 1]


def bounding() -> int:
    """The caller's bounding set."""
    bits = 0
    for index in range(len(NAMES)):
        if libc.prctl(_PR_CAPBSET_READ, index, 0, 0, 0) == 1:
            bits |= 1 << index
    return bits


def last() -> int:
    """The highest capability number of the running kernel."""
    with open("/proc/sys/kernel/cap_last_cap", "rb") as file:
        return int(file.read())


def drop_bounding(keep: int, held: int) -> None:
    """Take everything out of the bounding set but ``keep``; needs CAP_SETPCAP.

    ``held`` is the present set. Numbers beyond this table are dropped too.
    """
    for index in range(len(NAMES) + 8):
        if keep >> index & 1 or (index < len(NAMES) and not held >> index & 1):
            continue
        if libc.prctl(_PR_CAPBSET_DROP, index, 0, 0, 0) != 0:
            if index >= len(NAMES) or ctypes.get_errno() == 22:
                break  # EINVAL: the kernel has no such capability
            check(-1, NAMES[index])


class _Header(ctypes.Structure):
    _fields_ = (("version", ctypes.c_uint32), ("pid", ctypes.c_int))


def get() -> "tuple[int, int, int]":
    """(effective, permitted, inheritable) of the caller."""
    data = (ctypes.c_uint32 * 6)()
    check(libc.capget(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(data)))
    return (data[0] | data[3] << 32, data[1] | data[4] << 32, data[2] | data[5] << 32)


def set_(effective: int, permitted: int, inheritable: int) -> None:
    """Replace the three sets of the calling thread; EPERM when ``permitted`` would grow."""
    low, high = 0xFFFFFFFF, 32
    data = (ctypes.c_uint32 * 6)(
        effective & low,
        permitted & low,
        inheritable & low,
        effective >> high,
        permitted >> high,
        inheritable >> high,
    )
    check(libc.capset(ctypes.byref(_Header(_VERSION_3, 0)), ctypes.byref(data)))


def clear_ambient() -> None:
    """Empty the ambient set."""
    zero = ctypes.c_ulong(0)
    check(libc.prctl(_PR_CAP_AMBIENT, ctypes.c_ulong(_AMBIENT_CLEAR_ALL), zero, zero, zero))


def raise_ambient(bits: int) -> None:
    """Add to the ambient set; each must be permitted and inheritable."""
    zero = ctypes.c_ulong(0)
    for index in range(len(NAMES)):
        if bits >> index & 1:
            number = ctypes.c_ulong(index)
            action = ctypes.c_ulong(_AMBIENT_RAISE)
            check(libc.prctl(_PR_CAP_AMBIENT, action, number, zero, zero), NAMES[index])
