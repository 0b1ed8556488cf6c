"""System call numbers of each ABI, by name: from libseccomp, and what it does not know or bends."""

from __future__ import annotations

import ctypes
import functools
import platform
from dataclasses import dataclass

from ketch.errors import Unavailable

X32_BIT = 0x40000000  # __X32_SYSCALL_BIT: x32 shares the audit number of x86_64


@dataclass(frozen=True, slots=True)
class Abi:
    """One system call interface: libseccomp's token and the kernel's AUDIT_ARCH number."""

    name: str
    token: int
    audit: int


_ABIS = {
    abi.name: abi
    for abi in (
        Abi("SCMP_ARCH_X86_64", 0xC000003E, 0xC000003E),
        Abi("SCMP_ARCH_X86", 0x40000003, 0x40000003),
        Abi("SCMP_ARCH_X32", 0x4000003E, 0xC000003E),
        Abi("SCMP_ARCH_AARCH64", 0xC00000B7, 0xC00000B7),
        Abi("SCMP_ARCH_ARM", 0x40000028, 0x40000028),
    )
}
_FAMILIES = {
    "x86_64": ("SCMP_ARCH_X86_64", "SCMP_ARCH_X86", "SCMP_ARCH_X32"),
    "aarch64": ("SCMP_ARCH_AARCH64", "SCMP_ARCH_ARM"),
}
GO_NAMES = {"x86_64": "amd64", "aarch64": "arm64"}

# fmt: off
ARCHITECTURES = frozenset(
    "SCMP_ARCH_" + word for word in (
        "X86", "X86_64", "X32", "ARM", "AARCH64", "MIPS", "MIPS64", "MIPS64N32", "MIPSEL",
        "MIPSEL64", "MIPSEL64N32", "PPC", "PPC64", "PPC64LE", "S390", "S390X", "PARISC",
        "PARISC64", "RISCV64", "LOONGARCH64", "M68K", "SH", "SHEB",
    )
)

# On i386 libseccomp turns these into the multiplexers socketcall(2) and ipc(2) and drops
# conditions on their first argument; the direct calls (most from Linux 4.3 and 5.1) are exact.
_I386_DIRECT = {
    name: number for start, names in (
        (337, ("recvmmsg",)), (345, ("sendmmsg",)),
        (359, ("socket", "socketpair", "bind", "connect", "listen", "accept4", "getsockopt",
               "setsockopt", "getsockname", "getpeername", "sendto", "sendmsg", "recvfrom",
               "recvmsg", "shutdown")),
        (393, ("semget", "semctl", "shmget", "shmctl", "shmat", "shmdt", "msgget", "msgsnd",
               "msgrcv", "msgctl")),
    ) for number, name in enumerate(names, start)
}

# Linux 6.5 and later; every ABI has the same numbers since 424.
_NEW_CALLS = {
    name: number for number, name in enumerate((
        "cachestat", "fchmodat2", "map_shadow_stack", "futex_wake", "futex_wait",
        "futex_requeue", "statmount", "listmount", "lsm_get_self_attr", "lsm_set_self_attr",
        "lsm_list_modules", "mseal", "setxattrat", "getxattrat", "listxattrat",
        "removexattrat", "open_tree_attr", "file_getattr", "file_setattr",
    ), 451)
}
# fmt: on
_KNOWN = {
    "SCMP_ARCH_X86": {**_NEW_CALLS, **_I386_DIRECT},
    "SCMP_ARCH_X86_64": {**_NEW_CALLS, "uretprobe": 335},
    "SCMP_ARCH_X32": {name: number | X32_BIT for name, number in _NEW_CALLS.items()},
}


def native_architectures() -> tuple[str, ...]:
    """Names of the ABIs that this machine can run, its own first; raises ``Unavailable``."""
    machine = platform.machine()
    if machine not in _FAMILIES:
        raise Unavailable(f"seccomp filters are not made for machines of type {machine}")
    return _FAMILIES[machine]


def native_abis(names: tuple[str, ...]) -> list[Abi]:
    """Those of ``names`` that can occur here; without names the machine's own (as libseccomp)."""
    native = native_architectures()
    return [_ABIS[name] for name in native if name in (names or native[:1])]


def number_of(abi: Abi, name: str) -> int | None:
    """The number of a call, x32's with its bit; ``None`` when the ABI does not have it."""
    known = _KNOWN.get(abi.name, _NEW_CALLS).get(name)
    if known is not None:
        return known
    number: int = _library().seccomp_syscall_resolve_name_arch(abi.token, name.encode())
    return number if number >= 0 else None


def name_of(audit: int, number: int) -> str:
    """The name of a call by the kernel's AUDIT_ARCH and number, or the number as text."""
    for abi in _ABIS.values():
        if abi.audit != audit or bool(number & X32_BIT) != (abi.name == "SCMP_ARCH_X32"):
            continue
        for name, known in _KNOWN.get(abi.name, _NEW_CALLS).items():
            if known == number:
                return name
        found = _library().seccomp_syscall_resolve_num_arch(abi.token, number)
        if found:
            try:
                return ctypes.string_at(found).decode()
            finally:
                _free(found)
    return str(number)


def _free(pointer: int) -> None:
    libc = ctypes.CDLL(None)
    libc.free.argtypes = (ctypes.c_void_p,)
    libc.free(pointer)


@functools.cache
def library_version() -> str:
    """The version of libseccomp (seccomp_version(3))."""
    library = _library()
    library.seccomp_version.restype = ctypes.POINTER(ctypes.c_uint * 3)
    return ".".join(str(part) for part in library.seccomp_version().contents)


@functools.cache
def _library() -> ctypes.CDLL:
    try:
        library = ctypes.CDLL("libseccomp.so.2")
    except OSError as error:
        raise Unavailable(
            f"seccomp profiles need libseccomp.so.2 ({error}); install libseccomp2"
        ) from None
    library.seccomp_syscall_resolve_name_arch.argtypes = (ctypes.c_uint32, ctypes.c_char_p)
    library.seccomp_syscall_resolve_num_arch.argtypes = (ctypes.c_uint32, ctypes.c_int)
    library.seccomp_syscall_resolve_num_arch.restype = ctypes.c_void_p
    return library
