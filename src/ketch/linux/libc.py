"""The C library by ctypes, and errno as exceptions.

``PyDLL`` keeps the interpreter lock during a call: the processes that use this module have one
thread, and a process made by a raw clone3(2) must not depend on lock hand-over.
"""

import ctypes
import os

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any

libc = ctypes.PyDLL(None, use_errno=True)
_syscall = libc.syscall
_syscall.restype = ctypes.c_long

_MACHINE = os.uname().machine

# Numbers below 424 differ between architectures; from 424 on they are the same everywhere
# (asm-generic/unistd.h).
# fmt: off
_OLD_NUMBERS = {
    "x86_64": {
        "write": 1, "rt_sigaction": 13, "rt_sigprocmask": 14, "ioctl": 16, "recvfrom": 45,
        "sendmsg": 46, "recvmsg": 47, "execve": 59, "fchdir": 81, "fchown": 93, "umask": 95,
        "setsid": 112, "setgroups": 116, "setresuid": 117, "setresgid": 119, "capset": 126,
        "prctl": 157, "chroot": 161, "exit_group": 231, "keyctl": 250, "unshare": 272,
        "dup3": 292, "prlimit64": 302, "setns": 308, "seccomp": 317, "bpf": 321, "execveat": 322,
    },
    "aarch64": {
        "write": 64, "rt_sigaction": 134, "rt_sigprocmask": 135, "ioctl": 29, "recvfrom": 207,
        "sendmsg": 211, "recvmsg": 212, "execve": 221, "fchdir": 50, "fchown": 55, "umask": 166,
        "setsid": 157, "setgroups": 159, "setresuid": 147, "setresgid": 149, "capset": 91,
        "prctl": 167, "chroot": 51, "exit_group": 94, "keyctl": 219, "unshare": 97,
        "dup3": 24, "prlimit64": 261, "setns": 268, "seccomp": 277, "bpf": 280, "execveat": 281,
    },
}
# fmt: on
_NEW_NUMBERS = {"fsopen": 430, "close_range": 436}


def number(name: str) -> int:
    """The number of a system call; raises OSError (ENOSYS) for an old one on other machines."""
    try:
        return _NEW_NUMBERS.get(name) or _OLD_NUMBERS[_MACHINE][name]
    except KeyError:
        raise OSError(38, f"the number of {name} is not known on {_MACHINE}") from None


def check(result: int, what: str = "") -> int:
    """``result``, or OSError from errno when it is negative; ``what`` is the file named in it."""
    if result < 0:
        code = ctypes.get_errno()
        if what:
            raise OSError(code, os.strerror(code), what)
        raise OSError(code, os.strerror(code))
    return result


def syscall(call: int, *args: "Any", what: str = "") -> int:
    """syscall(2): ints are passed as int, bytes as pointers; raises OSError."""
    result: int = _syscall(call, *args)
    return check(result, what)


_DONTNEED = 4  # madvise(2)
_M_TRIM_THRESHOLD, _M_MMAP_THRESHOLD = -1, -3  # mallopt(3)


def keep_heap() -> None:
    """Let the C library keep a few MB that are free, instead of mapping each large buffer anew.

    Who streams through buffers of hundreds of kB otherwise spends half its time on page faults.
    """
    option = getattr(libc, "mallopt", None)
    if option is not None:
        option(_M_MMAP_THRESHOLD, 4 << 20)
        option(_M_TRIM_THRESHOLD, 2 << 20)


def trim_heap() -> None:
    """Give what the C library's heap has free back to the kernel (malloc_trim(3), glibc)."""
    trim = getattr(libc, "malloc_trim", None)
    if trim is not None:
        trim(ctypes.c_size_t(0))


def unmap_code() -> None:
    """Let go of program text that only the start has run; what runs again is mapped again.

    Nothing of it can have been written to, so that nothing is lost (madvise(2), MADV_DONTNEED).
    """
    for line in memory_maps():
        words = line.split(None, 5)
        if words[1] == "r-xp" and len(words) > 5 and words[5].startswith("/"):
            start, _, end = words[0].partition("-")
            length = int(end, 16) - int(start, 16)
            libc.madvise(ctypes.c_void_p(int(start, 16)), ctypes.c_size_t(length), _DONTNEED)


def memory_maps() -> "list[str]":
    """The lines of proc_pid_maps(5) of the caller."""
    with open("/proc/self/maps", encoding="utf-8", errors="surrogateescape") as file:
        return file.read().splitlines()


def path_bytes(path: "str | bytes") -> bytes:
    """A path for the kernel; raises ValueError when it holds a NUL."""
    encoded = os.fsencode(path)
    if b"\0" in encoded:
        raise ValueError("embedded null byte")
    return encoded
