"""Reading a json-file log: all of it or its tail, once or following.

Results are lists of entries, one list per chunk of 256 KiB, so that memory is bounded and an event
loop that reads them breathes in between.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator

from ketch.logs import files
from ketch.logs.entries import Entry, Selection, decode
from ketch.logs.watching import FileWatcher


def read(path: str, selection: Selection | None = None) -> Iterator[list[Entry]]:
    """The entries that are there, oldest first; a log that does not exist is empty."""
    log = _Log(path, selection or Selection())
    try:
        yield from log.present()
    finally:
        log.close()


async def follow(
    path: str, selection: Selection | None = None, ended: asyncio.Event | None = None
) -> AsyncIterator[list[Entry]]:
    """What is there, then what comes, through rotations.

    Ends when ``ended`` is set (no more will be written) and everything has been read, or when
    ``until`` is passed. Nothing is held but one fd; a slow consumer delays nobody.
    """
    log = _Log(path, selection or Selection())
    stop = ended or asyncio.Event()
    watcher = FileWatcher.of_loop()
    try:
        with watcher.watch(os.path.dirname(path) or ".") as changed:
            while not log.finished():
                last_round = stop.is_set()
                changed.clear()
                for entries in log.present():
                    yield entries
                    await asyncio.sleep(0)
                if last_round:
                    return
                await _first(changed, stop, log.seconds_left())
    finally:
        log.close()


async def _first(changed: asyncio.Event, stop: asyncio.Event, timeout: float | None) -> None:
    """Wait until one of the events is set, or time is up."""
    waits = [asyncio.ensure_future(event.wait()) for event in (changed, stop)]
    try:
        await asyncio.wait(waits, timeout=timeout, return_when=asyncio.FIRST_COMPLETED)
    finally:
        for wait in waits:
            wait.cancel()


class _Log:
    """A cursor over the files of one log."""

    def __init__(self, path: str, selection: Selection) -> None:
        self._path = path
        self._selection = selection
        self._begun = False
        self._reader: files.LineReader | None = None
        self._next: list[int] = []
        self._done = False

    def present(self) -> Iterator[list[Entry]]:
        """Everything from the cursor to the present end."""
        if self._reader is None and not self._begin():
            return
        while not self._done:
            assert self._reader is not None
            for lines in self._reader.chunks():
                entries = self._select(decode(lines))
                if entries:
                    yield entries
                if self.finished():
                    return
            if not self._advance():
                return

    def finished(self) -> bool:
        """Whether ``until`` is passed."""
        return self._done

    def _begin(self) -> bool:
        fds = files.open_all(self._path)
        if not fds:
            self._begun = True  # what appears later is all new
            return False
        index, offset = 0, 0
        if self._selection.tail >= 0 and not self._begun:
            index, offset = files.tail_position(fds, self._selection.tail)
            if self._selection.tail == 0:
                index, offset = len(fds) - 1, os.fstat(fds[-1]).st_size
        for fd in fds[:index]:
            os.close(fd)
        self._begun = True
        self._reader = files.LineReader(files.Position(fds[index], offset))
        self._next = fds[index + 1 :]
        return True

    def _advance(self) -> bool:
        """Go on to the next file, once this one is read and has been rotated away."""
        assert self._reader is not None
        fd = self._next.pop(0) if self._next else files.successor(self._path, self._reader.fd)
        if fd is None:
            return False
        if not self._reader.at_end():  # written between the last read and the rotation
            self._next.insert(0, fd)
            return True
        os.close(self._reader.fd)
        self._reader = files.LineReader(files.Position(fd, 0))
        return True

    def _select(self, entries: list[Entry]) -> list[Entry]:
        since, until = self._selection.since, self._selection.until
        if since:
            entries = [entry for entry in entries if entry.time >= since]
        if until and entries and entries[-1].time > until:
            self._done = True
            entries = [entry for entry in entries if entry.time <= until]
        return entries

    def seconds_left(self) -> float | None:
        """How long until ``until``; None without."""
        if not self._selection.until:
            return None
        left = (self._selection.until - time.time_ns()) / 1e9
        if left <= 0:
            self._done = True
        return max(0.0, left)

    def close(self) -> None:
        """Give all fds back."""
        if self._reader is not None:
            os.close(self._reader.fd)
            self._reader = None
        for fd in self._next:
            os.close(fd)
        self._next = []
