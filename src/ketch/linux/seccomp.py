"""Loading a seccomp filter (seccomp(2))."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.linux.script import Script

_SET_MODE_FILTER = 1
FLAG_LOG = 2
FLAG_SPEC_ALLOW = 4


def load_filter(script: "Script", program: bytes, flags: int = 0) -> None:
    """Install a BPF program for who makes the script's calls and what it becomes.

    Needs no_new_privs or CAP_SYS_ADMIN. Raises ValueError when ``program`` is no whole number of
    instructions or more than 4096 of them (BPF_MAXINSNS).
    """
    count, rest = divmod(len(program), 8)
    if rest or not 0 < count <= 4096:
        raise ValueError(f"a filter of {len(program)} bytes is no BPF program")
    fprog = script.words([count, script.keep(program)])  # struct sock_fprog
    script.call("seccomp", _SET_MODE_FILTER, flags, fprog, what="the filter")
