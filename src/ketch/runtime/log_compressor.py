"""Compression of rotated log files, in a child so that the pump goes on.

One at a time. A rotation that comes while it works takes it back: the file stays as it is and its
turn comes with the next one. So a container that writes faster than we compress is not slowed.
"""

import os
import sys

from ketch.linux import process
from ketch.linux.eventpoll import READ
from ketch.logs import gzipped
from ketch.logs.rotating import rotated
from ketch.runtime import maker

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.linux.eventpoll import Loop

_NICE = 10
_SIGKILL = 9


class LogCompressor:
    """The ``Compressor`` of a ``RotatingFile``.

    The child is reaped by the loop; without one, the process must ignore SIGCHLD (wait(2)).
    """

    __slots__ = ("_loop", "_path", "_pidfd")

    def __init__(self, loop: "Loop | None" = None) -> None:
        self._loop = loop
        self._path = ""
        self._pidfd = -1

    def start(self, path: str) -> None:
        """Compress every rotated file of the log ``path`` that is not."""
        self._path = path
        self._sweep()  # what one left that was killed with its shim
        plain = [name for _, name in sorted(rotated(path)) if not name.endswith(".gz")]
        if not plain:
            return
        pid = maker.fork(lambda: _compress(plain))
        self._pidfd = os.pidfd_open(pid)
        if self._loop is not None:
            self._loop.watch(self._pidfd, READ, lambda _: self._reap())

    def stop(self) -> None:
        """Kill the child, if it works; what it did not finish is removed."""
        if self._pidfd < 0:
            return
        try:
            process.pidfd_send_signal(self._pidfd, _SIGKILL)
        except ProcessLookupError:
            pass
        self._reap()
        self._sweep()

    def _sweep(self) -> None:
        directory, _, base = self._path.rpartition("/")
        for name in os.listdir(directory or "."):
            if name.startswith(f"{base}.") and name.endswith(".tmp"):
                os.unlink(f"{directory or '.'}/{name}")

    def _reap(self) -> None:
        try:
            os.waitid(os.P_PIDFD, self._pidfd, os.WEXITED)
        except ChildProcessError:
            pass  # the kernel did it
        if self._loop is not None:
            self._loop.forget(self._pidfd)
        os.close(self._pidfd)
        self._pidfd = -1


def _compress(paths: "list[str]") -> None:
    process.close_from(3)  # clients must not wait for us to see the end of their stream
    os.nice(_NICE)
    for path in paths:
        try:
            gzipped.compress(path)
        except OSError as error:
            print(f"ketch: log {path}: {error}; it stays uncompressed", file=sys.stderr, flush=True)
            return
