"""An event loop of one screen over epoll(7): callbacks per fd, and a few timers.

For the launcher and the shims, which have one thread and must not import ``asyncio``.
Level-triggered: a callback that leaves something undone is called again.
"""

import select
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable

READ, WRITE = select.EPOLLIN, select.EPOLLOUT
HANGUP = select.EPOLLHUP | select.EPOLLERR


class _Watch:
    __slots__ = ("callback", "events")

    def __init__(self, events: int, callback: "Callable[[int], object]") -> None:
        self.events = events
        self.callback = callback


class Loop:
    """Callbacks get the events as a mask; hang-up and errors are always reported."""

    __slots__ = ("_epoll", "_timers", "_watches")

    def __init__(self) -> None:
        self._epoll = select.epoll()
        self._watches: dict[int, _Watch] = {}
        self._timers: dict[Callable[[], object], float] = {}

    def watch(self, fd: int, events: int, callback: "Callable[[int], object]") -> None:
        """Call back when ``fd`` has one of ``events``; a second call changes the events."""
        known = self._watches.get(fd)
        if known is None:
            self._watches[fd] = _Watch(events, callback)
            self._epoll.register(fd, events)
        elif known.events != events:
            known.events = events
            self._epoll.modify(fd, events)

    def forget(self, fd: int) -> None:
        """Stop watching; to be called before the fd is closed. Unknown fds are no error."""
        if self._watches.pop(fd, None) is not None:
            self._epoll.unregister(fd)

    def at(self, moment: float, callback: "Callable[[], object]") -> None:
        """Call once when time.monotonic() reaches ``moment``; replaces the same callback's."""
        self._timers[callback] = moment

    def cancel(self, callback: "Callable[[], object]") -> None:
        """Take a timer back."""
        self._timers.pop(callback, None)

    def turn(self) -> None:
        """Wait for something to happen and handle it."""
        ready = [(self._watches.get(fd), fd, events) for fd, events in self._wait()]
        for watch, fd, events in ready:
            # An earlier callback of this turn may have closed the fd, and another taken its number.
            if watch is not None and self._watches.get(fd) is watch:
                watch.callback(events)
        self._ring()

    def _wait(self) -> "list[tuple[int, int]]":
        timeout = -1.0
        if self._timers:
            timeout = max(0.0, min(self._timers.values()) - time.monotonic())
        return self._epoll.poll(timeout)

    def _ring(self) -> None:
        if not self._timers:
            return
        now = time.monotonic()
        for callback in [call for call, moment in self._timers.items() if moment <= now]:
            if self._timers.pop(callback, None) is not None:
                callback()

    def close(self) -> None:
        """Give the epoll fd back; watched fds stay open."""
        self._watches.clear()
        self._timers.clear()
        self._epoll.close()

    def fds(self) -> "list[int]":
        """All that is watched, and the epoll fd: what a forked child has no use for."""
        return [self._epoll.fileno(), *self._watches]
