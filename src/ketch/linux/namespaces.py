"""Namespaces: their names in the OCI runtime spec, flags, and setns(2)/unshare(2)."""

import os

from ketch.linux.libc import check, libc

CLONE_NEWTIME = 0x00000080
CLONE_NEWNS = 0x00020000
CLONE_NEWCGROUP = 0x02000000
CLONE_NEWUTS = 0x04000000
CLONE_NEWIPC = 0x08000000
CLONE_NEWUSER = 0x10000000
CLONE_NEWPID = 0x20000000
CLONE_NEWNET = 0x40000000

# OCI name -> (flag, file below /proc/<pid>/ns)
NAMESPACES = {
    "user": (CLONE_NEWUSER, "user"),
    "mount": (CLONE_NEWNS, "mnt"),
    "pid": (CLONE_NEWPID, "pid"),
    "network": (CLONE_NEWNET, "net"),
    "uts": (CLONE_NEWUTS, "uts"),
    "ipc": (CLONE_NEWIPC, "ipc"),
    "cgroup": (CLONE_NEWCGROUP, "cgroup"),
    "time": (CLONE_NEWTIME, "time"),
}


def setns(fd: int, flags: int) -> None:
    """Join the namespace of ``fd``, or those of a pidfd that ``flags`` names (Linux 5.8)."""
    check(libc.setns(fd, flags))


def unshare(flags: int) -> None:
    """Leave the shared namespaces for new ones."""
    check(libc.unshare(flags))


def sethostname(name: str) -> None:
    """Needs CAP_SYS_ADMIN over the UTS namespace."""
    data = name.encode()
    check(libc.sethostname(data, len(data)))


def setdomainname(name: str) -> None:
    """The NIS domain name; needs CAP_SYS_ADMIN over the UTS namespace."""
    data = name.encode()
    check(libc.setdomainname(data, len(data)))


def same_namespace(pid: int, kind: str) -> bool:
    """Whether ``pid`` and the caller share the namespace file ``kind`` (``user``, ``net``…)."""
    theirs = os.stat(f"/proc/{pid}/ns/{kind}")
    ours = os.stat(f"/proc/self/ns/{kind}")
    return (theirs.st_dev, theirs.st_ino) == (ours.st_dev, ours.st_ino)
