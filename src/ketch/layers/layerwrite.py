"""Putting entries into a layer's tar as if they were put into the tree below it.

What ``ketch.layers.unpack`` does in a writable snapshot, without making a file: the tar is what
the snapshot's diff would be. Where the outcome depends on more than the names on the way (links,
something else in the way, a name given twice, a directory to be made in one with the setgid bit),
``NotPlain`` asks for the way through a snapshot.
"""

from __future__ import annotations

import os
import stat
import time
from collections.abc import Callable
from typing import Protocol

from ketch.layers import whiteouts
from ketch.layers.create import OPEN_DIR
from ketch.layers.entry import Entry
from ketch.layers.names import components
from ketch.layers.tree import storable
from ketch.layers.unpack import Ownership
from ketch.layers.walk import describe, read_xattrs

Path = tuple[bytes, ...]


class NotPlain(Exception):
    """This can't be done without a writable snapshot."""


class Out(Protocol):
    """Where a layer's entries go; ``content`` is whatever it knows contents by."""

    def add(self, entry: Entry, content: int = -1, /) -> None:
        """Append an entry."""


class LayerWriter:
    """Writes a layer for the tree at the directory ``root_fd``, which nobody changes meanwhile.

    Times later than ``newest`` (ns since the epoch) are set back to it.
    """

    def __init__(
        self, out: Out, root_fd: int, ownership: Ownership, newest: int | None = None
    ) -> None:
        self._out = out
        self._root_fd = root_fd
        self._newest = newest
        self._ownership = ownership
        self._directories: dict[Path, bool] = {(): True}  # whether the tree has it
        self._hands_on: set[Path] = set()  # directories of the tree with the setgid bit
        self._described: set[Path] = set()
        self._files: set[Path] = set()
        self._now = time.time_ns()

    def make_directories(
        self, path: bytes, mtime: int | None = None, *, alone: bool = False
    ) -> Path:
        """A directory and those above it, made where there is none, for what is put there now; the
        directory gets a time, and its mode changed if it is new and takes the place of a source
        that comes ``alone``."""
        parts = tuple(part for part in path.split(b"/") if part not in (b"", b"."))
        self._enter(parts, self._now if mtime is None else mtime, alone)
        return parts

    def put(self, base: Path, entry: Entry, content: int) -> None:
        """Put one entry below the directory ``base``; ``content`` is ``Out``'s word."""
        parts = (*base, *components(entry.name))
        if parts == base:
            if not entry.is_dir:
                raise NotPlain
            return
        self._refuse(parts, entry)
        below = self._enter(parts[:-1])
        entry.name = b"/".join(parts)
        if entry.hardlink:
            self._link(base, parts, entry)
            return
        self._ownership.apply(entry)
        entry.xattrs = storable(entry) if entry.xattrs else entry.xattrs
        if entry.is_dir:
            self._directories[parts] = below and self._is_there(parts, stat.S_ISDIR)
            self._described.add(parts)
        else:
            if below:
                self._is_there(parts, _is_no_directory)
            self._files.add(parts)
        self._date(entry)
        self._out.add(entry, content)

    def _date(self, entry: Entry) -> None:
        if self._newest is not None:
            entry.mtime = min(entry.mtime, self._newest)

    def _refuse(self, parts: Path, entry: Entry) -> None:
        """What is here twice, and what means something else in a layer."""
        seen = parts in self._files or parts in self._described
        if seen or (parts in self._directories and not entry.is_dir):
            raise NotPlain
        if parts in self._directories and not self._directories[parts]:
            raise NotPlain  # written with other attributes already
        if any(part.startswith(whiteouts.PREFIX) for part in parts):
            raise NotPlain
        if stat.S_ISCHR(entry.mode) and entry.rdev == (0, 0):
            raise NotPlain

    def _link(self, base: Path, parts: Path, entry: Entry) -> None:
        target = (*base, *components(entry.link))
        if target not in self._files:
            raise NotPlain
        entry.link = b"/".join(target)
        self._files.add(parts)
        self._ownership.apply(entry)
        entry.xattrs = storable(entry) if entry.xattrs else entry.xattrs
        self._date(entry)
        self._out.add(entry)

    def _enter(self, parts: Path, mtime: int | None = None, alone: bool = False) -> bool:
        """See to it that the layer has a directory; whether the tree below has it too."""
        there = self._directories.get(parts)
        if there is not None:
            return there
        if parts in self._files or b".." in parts:
            raise NotPlain
        above = self._enter(parts[:-1])
        there = above and self._is_there(parts, stat.S_ISDIR)
        if not there and parts[:-1] in self._hands_on:
            raise NotPlain
        entry = self._as_below(parts) if there else self._new(parts)
        if there and entry.mode & stat.S_ISGID:
            self._hands_on.add(parts)
        if mtime is not None:
            entry.mtime = mtime
        if alone and not there:
            self._ownership.apply(entry)
        self._date(entry)
        self._out.add(entry)
        self._directories[parts] = there
        return there

    def _is_there(self, parts: Path, wanted: Callable[[int], bool]) -> bool:
        """Whether the tree has something; raises ``NotPlain`` when it is not what is wanted.

        Whoever asks knows that what is above are directories, so no link is followed.
        """
        try:
            found = os.lstat(b"/".join(parts), dir_fd=self._root_fd)
        except FileNotFoundError:
            return False
        if not wanted(found.st_mode):
            raise NotPlain
        return True

    def _as_below(self, parts: Path) -> Entry:
        path = b"/".join(parts)
        fd = os.open(path, OPEN_DIR, dir_fd=self._root_fd)
        try:
            entry = describe(path, os.fstat(fd))
            entry.xattrs = read_xattrs(fd)
        finally:
            os.close(fd)
        return entry

    def _new(self, parts: Path) -> Entry:
        entry = Entry(b"/".join(parts), stat.S_IFDIR | self._ownership.made)
        entry.uid, entry.gid = self._ownership.chown or (0, 0)
        entry.mtime = self._now
        return entry


def _is_no_directory(mode: int) -> bool:
    return not stat.S_ISDIR(mode)
