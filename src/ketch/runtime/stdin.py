"""The way in: bytes of attached clients to the process's stdin."""

import os

from ketch.linux.eventpoll import HANGUP, WRITE

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

    from ketch.linux.eventpoll import Loop


class Stdin:
    """The writing end of a process's stdin: a pipe, or the terminal's master.

    What the process does not read yet waits here; ``full`` then asks the clients to wait too.
    ``on_room`` is called when they may go on. A process that closed its stdin swallows everything,
    as a program whose reader is gone would see it. ``fd`` -1 means that there is no stdin.
    """

    def __init__(self, loop: "Loop", fd: int, on_room: "Callable[[], object]") -> None:
        self._loop = loop
        self._fd = fd
        self._on_room = on_room
        self._pending = b""
        self._closing = False

    def share_terminal(self, master: int) -> None:
        """Write to a terminal, whose master belongs to the output side."""
        self._fd = os.dup(master)

    @property
    def full(self) -> bool:
        """Whether the clients' bytes must stay where they are."""
        return bool(self._pending)

    @property
    def open(self) -> bool:
        """Whether bytes still reach the process."""
        return self._fd >= 0 and not self._closing

    def write(self, data: bytes) -> None:
        """Pass bytes on, in order."""
        if not self.open:
            return
        if self._pending:
            self._pending += data
            return
        self._push(data)

    def close(self) -> None:
        """End of input, once everything that came before is written."""
        self._closing = True
        if not self._pending:
            self._drop()

    def _push(self, data: bytes) -> None:
        view = memoryview(data)
        try:
            while view:
                view = view[os.write(self._fd, view) :]
        except BlockingIOError:
            self._pending = bytes(view)
            self._loop.watch(self._fd, WRITE, self._ready)
        except OSError:
            self._drop()

    def _ready(self, events: int) -> None:
        self._loop.forget(self._fd)
        data, self._pending = self._pending, b""
        if events & HANGUP and not events & WRITE:
            self._drop()
        else:
            self._push(data)
        if self._pending:
            return
        if self._closing:
            self._drop()
        self._on_room()

    def _drop(self) -> None:
        if self._fd >= 0:
            self._loop.forget(self._fd)
            os.close(self._fd)
        self._fd = -1
        self._pending = b""
