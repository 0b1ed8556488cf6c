"""What one tree has changed of another, as a layer: for trees that do not lie on each other.

Source: OCI image-spec, layer.md ("Change Types"). A directory that both have is in it for what is
in it, or if its own mode, owner or attributes differ; its time alone is no change.
"""

from __future__ import annotations

import os
import stat
from contextlib import ExitStack
from typing import Any

from ketch.layers import whiteouts
from ketch.layers.archive import in_root
from ketch.layers.entry import Entry
from ketch.layers.tarwrite import TarWriter
from ketch.layers.walk import Walk, describe, join, list_reversed, read_xattrs
from ketch.linux.paths import open_in_root

Args = dict[str, Any]
_PIECE = 1 << 20
_PLAIN = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK


def write(args: Args, fds: list[int]) -> Args:
    """A worker function in the upper tree, fds ``[lower tree, out]``: the layer as an uncompressed
    tar → ``{"entries", "plain"}``, as ``copy_tasks.layer``."""

    def run(root_fd: int) -> Args:
        with os.fdopen(os.dup(fds[1]), "wb", 1 << 20) as out:
            writer = TarWriter(out)
            changes = _Changes(root_fd, fds[0], writer)
            for entry, fd in Walk().tree(root_fd, b".", b""):
                changes.see(entry, fd)
            writer.finish()
        return {"entries": writer.entries, "plain": True}

    return in_root(run)


class _Changes:
    """Writes what differs; entries come in the order of a walk."""

    def __init__(self, upper_fd: int, lower_fd: int, writer: TarWriter) -> None:
        self._upper = upper_fd
        self._lower = lower_fd
        self._writer = writer
        self._waiting: list[Entry] = []  # directories on the way that are no change themselves
        self._names: dict[bytes, bytes] = {}  # of inodes: the first name, and the first written

    def see(self, entry: Entry, fd: int) -> None:
        """The next entry of the upper tree."""
        while self._waiting and not _is_below(entry.name, self._waiting[-1].name):
            self._waiting.pop()
        with ExitStack() as opened:
            first = entry.link if entry.hardlink else entry.name
            if entry.hardlink:
                fd = _opened(self._upper, entry.name, opened)
                entry = _described(entry.name, fd)
            below_fd = _opened(self._lower, entry.name, opened)
            below = None if below_fd < 0 else _described(entry.name, below_fd)
            changed = below is None or not _same(entry, below, fd, below_fd)
            gone = _gone(fd, below_fd) if entry.is_dir and below and below.is_dir else []
            if entry.is_dir and not changed and not gone:
                self._waiting.append(entry)
            elif changed or gone:
                self._write(entry, fd, first)
                for name in gone:
                    marker = join(entry.name, whiteouts.PREFIX + name)
                    self._writer.add(Entry(marker, stat.S_IFREG | 0o600))

    def _write(self, entry: Entry, fd: int, first: bytes) -> None:
        for outer in self._waiting:
            if outer.name:
                self._writer.add(outer)
        self._waiting.clear()
        if not entry.name:
            return
        if first in self._names:
            entry.hardlink, entry.link = True, self._names[first]
        elif not entry.is_dir:
            self._names[first] = entry.name
        if fd >= 0 and entry.is_file:
            os.lseek(fd, 0, os.SEEK_SET)
        self._writer.add(entry, fd)


def _is_below(name: bytes, directory: bytes) -> bool:
    return not directory or name.startswith(directory + b"/")


def _opened(root_fd: int, name: bytes, opened: ExitStack) -> int:
    """A file for reading, a link or a device only to be looked at; -1 when there is none."""
    path = os.fsdecode(name) or "/"
    try:
        fd = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return -1
    opened.callback(os.close, fd)
    mode = os.fstat(fd).st_mode
    if not (stat.S_ISREG(mode) or stat.S_ISDIR(mode)):
        return fd
    fd = open_in_root(root_fd, path, _PLAIN)
    opened.callback(os.close, fd)
    return fd


def _described(name: bytes, fd: int) -> Entry:
    entry = describe(name, os.fstat(fd))
    if stat.S_ISLNK(entry.mode):
        entry.link = os.readlink(b"", dir_fd=fd)
    elif entry.is_file or entry.is_dir:
        entry.xattrs = read_xattrs(fd)
    return entry


def _same(entry: Entry, below: Entry, fd: int, below_fd: int) -> bool:
    if _facts(entry) != _facts(below):
        return False
    if entry.is_dir:
        return True
    if (entry.size, entry.mtime) != (below.size, below.mtime):
        return False
    return not entry.is_file or _same_content(fd, below_fd)


def _facts(entry: Entry) -> tuple[object, ...]:
    plain = entry.xattrs if entry.is_file or entry.is_dir else {}
    return entry.mode, entry.uid, entry.gid, entry.link, entry.rdev, plain


def _same_content(fd: int, other: int) -> bool:
    at = 0
    while data := os.pread(fd, _PIECE, at):
        if data != os.pread(other, len(data), at):
            return False
        at += len(data)
    return True


def _gone(fd: int, below_fd: int) -> list[bytes]:
    """What the lower directory has and the upper one has not."""
    here = set(list_reversed(fd))
    return sorted(name for name in list_reversed(below_fd) if name not in here)
