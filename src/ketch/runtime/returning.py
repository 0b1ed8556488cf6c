"""Supervisors that serve again: one whose container or exec is over offers itself for the next.

A fork costs the kernel a copy of each page that its child writes to, several hundred before a
supervisor has something to supervise; one that did it before has them already. It has no trace of
what it supervised: no open file, no child, and the memory of what that said is given up. Whether
somebody takes it is the launcher's business: it closes the connection if not, and it leaves.
"""

import gc
import os

from ketch.linux import process, unixpath
from ketch.linux.descriptors import close_all_but
from ketch.runtime import hostmounts, protocol

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.runtime.protocol import Message

MOST = 50  # jobs of one process: its memory gets no better with them


class Home:
    """The launcher that a supervisor comes from, by its socket and its pid."""

    __slots__ = ("_done", "_path", "_pid")

    def __init__(self, path: str) -> None:
        self._path = path
        self._pid = os.getpid()
        self._done = 0

    def next(self, role: str) -> "Message | None":
        """Wait for the next task in a role of ``shim``; None when there will be none.

        In the mount namespace of the launcher then, as one that was just forked.
        """
        self._done += 1
        if self._done >= MOST:
            return None
        hostmounts.come_back()
        gc.collect()  # before the numbers of what is closed below are used anew
        close_all_but(())
        if _has_children():
            return None
        try:
            launcher = unixpath.connect(self._path)
            if unixpath.peer_pid(launcher) != self._pid:
                return None  # another one, perhaps of another version
            protocol.send(launcher, {"op": "idle", "role": role})
            process.set_name(b"ketch-idle")
            message = protocol.receive(launcher)
        except OSError:
            return None
        if message is not None:
            launcher.close()
            hostmounts.leave_again(message.fds.pop(0))
        return message


def _has_children() -> bool:
    try:
        os.waitpid(-1, os.WNOHANG)
    except ChildProcessError:
        return False
    return True
