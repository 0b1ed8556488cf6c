"""Being woken when a directory's files change: one inotify instance for all followers of a loop.

The kernel allows 128 instances per user (fs.inotify.max_user_instances) but tens of thousands of
watches, so followers share.
"""

from __future__ import annotations

import asyncio
import os
from collections.abc import Iterator
from contextlib import contextmanager
from weakref import WeakKeyDictionary

from ketch.linux import inotify

_MASK = inotify.MODIFY | inotify.CREATE | inotify.MOVED_TO | inotify.DELETE


class FileWatcher:
    """Events for changes in directories; the inotify fd lives while somebody watches."""

    def __init__(self) -> None:
        self._fd = -1
        self._events: dict[int, list[asyncio.Event]] = {}

    @classmethod
    def of_loop(cls) -> FileWatcher:
        """The running loop's watcher."""
        loop = asyncio.get_running_loop()
        watcher = _watchers.get(loop)
        if watcher is None:
            watcher = _watchers[loop] = cls()
        return watcher

    @contextmanager
    def watch(self, directory: str) -> Iterator[asyncio.Event]:
        """An event that is set at each change of a file in ``directory``.

        Raises OSError (ENOENT: no such directory; ENOSPC: too many watches).
        """
        if self._fd < 0:
            self._fd = inotify.create()
            asyncio.get_running_loop().add_reader(self._fd, self._wake)
        event = asyncio.Event()
        number = -1
        try:
            number = inotify.add(self._fd, directory, _MASK)
            self._events.setdefault(number, []).append(event)
            yield event
        finally:
            self._leave(number, event)

    def _leave(self, number: int, event: asyncio.Event) -> None:
        events = self._events.get(number, [])
        if event in events:
            events.remove(event)
        if not events and self._events.pop(number, None) is not None:
            try:
                inotify.remove(self._fd, number)
            except OSError:
                pass  # the directory is gone and the watch with it
        if not self._events:
            asyncio.get_running_loop().remove_reader(self._fd)
            os.close(self._fd)
            self._fd = -1

    def _wake(self) -> None:
        for number, mask, _name in inotify.read(self._fd):
            if mask & inotify.OVERFLOW:
                self._wake_all()
            for event in self._events.get(number, ()):
                event.set()

    def _wake_all(self) -> None:
        for events in self._events.values():
            for event in events:
                event.set()


_watchers: WeakKeyDictionary[asyncio.AbstractEventLoop, FileWatcher] = WeakKeyDictionary()
