"""Loading a seccomp filter (seccomp(2))."""

import ctypes

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.linux.script import Script

_SET_MODE_FILTER = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4


class _SockFprog(ctypes.Structure):
    """struct sock_fprog: a count of 8-byte instructions and the address of them."""

    _fields_ = (("length", ctypes.c_ushort), ("filter", ctypes.c_void_p))


def load_filter(script: "Script", program: bytes, flags: int = 0) -> None:
    """Install a BPF program for who makes the script's calls and what it becomes.

    Needs no_new_privs or CAP_SYS_ADMIN. Raises ValueError when ``program`` is no whole number of
    instructions or more than 4096 of them (BPF_MAXINSNS).
    """
    count, rest = divmod(len(program), 8)
    if rest or not 0 < count <= 4096:
        raise ValueError(f"a filter of {len(program)} bytes is no BPF program")
    fprog = script.keep(_SockFprog(count, script.keep(program)))
    script.call("seccomp", _SET_MODE_FILTER, flags, fprog, what="the filter")
