"""Namespaces of others: those of a process, for a moment; those that a sandbox is to share."""

import os

from ketch.errors import StartFailed, errno_text
from ketch.linux import namespaces
from ketch.linux.descriptors import close_all
from ketch.linux.process import dup_above

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.namespace_plan import NamespacePlan

BEYOND = 64
"""Numbers of fds that are in nobody's way, if the process has no more streams."""


class Inside:
    """Context manager: namespaces of the process of ``pidfd``, those of ``flags``.

    Its mount namespace is seen from its root. The pid namespace is for children only.
    """

    def __init__(self, pidfd: int, flags: int) -> None:
        self._pidfd = pidfd
        self._flags = flags
        self._own: list[int] = []

    def __enter__(self) -> None:
        """Raises OSError when it is gone."""
        for flag, name in namespaces.NAMESPACES.values():
            if self._flags & flag:
                fd = os.open(f"/proc/self/ns/{name}", os.O_RDONLY | os.O_CLOEXEC)
                self._own.append(dup_above(fd, BEYOND))
                os.close(fd)
        try:
            namespaces.setns(self._pidfd, self._flags)
        except OSError:
            close_all(self._own)
            raise

    def __exit__(self, *_: object) -> None:
        for fd in self._own:
            namespaces.setns(fd, 0)
            os.close(fd)


def open_joins(plan: "NamespacePlan") -> "list[tuple[int, int]]":
    """(fd, flag) of each namespace that is joined by a process that is there; ``StartFailed``."""
    found: list[tuple[int, int]] = []
    try:
        for name, flag, path in plan.joins_after_clone:
            found.append((open_namespace(name, path), flag))
    except BaseException:
        close_all(fd for fd, _ in found)
        raise
    return found


def open_namespace(name: str, path: str) -> int:
    """The namespace ``name`` at ``path``; raises ``StartFailed``."""
    try:
        return os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as error:
        raise StartFailed(
            f"cannot join the {name} namespace {path}: {errno_text(error)}", 128
        ) from None
