"""Reading a log of files: all of it or its tail, once or following.

Results are lists of entries, one list per chunk of 256 KiB, so that memory is bounded and an event
loop that reads them breathes in between.
"""

from __future__ import annotations

import asyncio
import os
import time
from collections.abc import AsyncIterator, Iterator

import msgspec

from ketch.linux import libc
from ketch.logs import files
from ketch.logs.decoding import FORMATS, Format
from ketch.logs.entries import Entry, Selection
from ketch.logs.watching import FileWatcher

_MUCH = 8 << 20  # bytes


def read(
    path: str, selection: Selection | None = None, driver: str = "json-file"
) -> Iterator[list[Entry]]:
    """The entries that are there, oldest first; a log that does not exist is empty."""
    log = _Log(path, selection or Selection(), FORMATS[driver])
    try:
        yield from log.present()
    finally:
        log.close()


async def follow(
    path: str,
    selection: Selection | None = None,
    ended: asyncio.Event | None = None,
    driver: str = "json-file",
) -> AsyncIterator[list[Entry]]:
    """What is there, then what comes, through rotations.

    Ends when ``ended`` is set (no more will be written) and everything has been read, or when
    ``until`` is passed. Nothing is held but one fd; a slow consumer delays nobody.
    """
    log = _Log(path, selection or Selection(), FORMATS[driver])
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
    """A place in the files of one log."""

    def __init__(self, path: str, selection: Selection, format: Format) -> None:
        self._path = path
        self._selection = selection
        self._format = format
        self._begun = False
        self._cursor: files.Cursor | None = None
        self._decoder = format.decoder()
        self._skip = 0  # lines before the tail
        self._next: list[files.LogFile] = []
        self._done = False
        self._taken = 0  # bytes

    def present(self) -> Iterator[list[Entry]]:
        """Everything from this place to the present end."""
        if self._cursor is None and not self._begin():
            return
        while not self._done:
            assert self._cursor is not None
            while data := self._cursor.read():
                self._streams(len(data))
                entries = self._select(self._decoder.feed(data))
                if entries:
                    yield entries
                if self.finished():
                    return
            if not self._advance():
                return

    def _streams(self, size: int) -> None:
        """Much is being read: buffers are used again."""
        if self._taken < _MUCH <= self._taken + size:
            libc.keep_heap()
        self._taken += size

    def finished(self) -> bool:
        """Whether ``until`` is passed."""
        return self._done

    def _begin(self) -> bool:
        found = files.open_all(self._path)
        if not found:
            self._begun = True  # what appears later is all new
            return False
        index, offset = 0, 0
        if self._selection.tail >= 0 and not self._begun:
            index, offset, self._skip = self._tail(found, self._selection.tail)
        for file in found[:index]:
            file.close()
        self._begun = True
        self._cursor = files.Cursor(found[index], offset)
        self._next = found[index + 1 :]
        return True

    def _tail(self, found: list[files.LogFile], count: int) -> tuple[int, int, int]:
        """(index in ``found``, offset, lines to leave out) from where ``count`` lines follow."""
        for index in range(len(found) - 1, -1, -1):
            tail = self._format.tail(found[index], count)
            if tail.lines >= count:
                return index, tail.offset, tail.skipped
            count -= tail.lines
        return 0, 0, 0

    def _advance(self) -> bool:
        """Go on to the next file, once this one is read and has been rotated away."""
        assert self._cursor is not None
        file = self._cursor.file
        following = self._next.pop(0) if self._next else files.successor(self._path, file)
        if following is None:
            return False
        self._next.insert(0, following)
        if self._cursor.at_end():  # else it was written to between the last read and the rotation
            file.close()
            self._cursor = files.Cursor(self._next.pop(0))
            self._decoder = self._format.decoder()
        return True

    def _select(self, entries: list[Entry]) -> list[Entry]:
        since, until = self._selection.since, self._selection.until
        while self._skip and entries:
            lines = entries[0].lines()
            rest = b"".join(lines[self._skip :])
            entries[:1] = [msgspec.structs.replace(entries[0], data=rest, texts=())] if rest else []
            self._skip -= min(self._skip, len(lines))
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
        """Give all fds back, and the memory of buffers."""
        if self._taken >= _MUCH:
            libc.trim_heap()
        if self._cursor is not None:
            self._cursor.file.close()
            self._cursor = None
        for file in self._next:
            file.close()
        self._next = []
