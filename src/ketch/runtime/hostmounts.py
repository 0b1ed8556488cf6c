"""The mount namespace of the host, kept by a launcher that lives in one of its own.

Sources of binds are the user's paths, so they are looked up where the user sees them.
"""

import os

from ketch.linux import mountapi as m
from ketch.linux.namespaces import CLONE_NEWNS, setns, unshare

_host = -1


def leave() -> None:
    """Enter a mount namespace of our own, remembering the present one; once per process tree.

    Mounts that the host makes or removes later are seen here too (slave propagation), so that
    nothing is kept busy; ours are not seen there.
    """
    global _host
    _host = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    unshare(CLONE_NEWNS)
    root = os.open("/", os.O_PATH | os.O_CLOEXEC)
    m.mount_setattr(root, propagation=m.MS_SLAVE, recursive=True)
    os.close(root)


def come_back() -> None:
    """Enter the host's mount namespace for good; nothing happens if ``leave`` was not called."""
    global _host
    if _host >= 0:
        setns(_host, CLONE_NEWNS)
        os.close(_host)
        _host = -1


def leave_again(own: int) -> None:
    """From the host's mount namespace into ``own``, one that ``leave`` has made; closes ``own``."""
    global _host
    _host = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
    setns(own, CLONE_NEWNS)
    os.close(own)


def fds() -> "tuple[int, ...]":
    """What a process keeps open that is yet to come back."""
    return (_host,) if _host >= 0 else ()


class Visit:
    """Context manager: the host's mount namespace for a while, and for the last time.

    Coming back, the root is that of the caller's own mount namespace.
    """

    def __enter__(self) -> "Visit":
        self._own = -1
        if _host >= 0:
            self._own = os.open("/proc/self/ns/mnt", os.O_RDONLY | os.O_CLOEXEC)
            come_back()
        return self

    def __exit__(self, *_: object) -> None:
        if self._own >= 0:
            setns(self._own, CLONE_NEWNS)
            os.close(self._own)
