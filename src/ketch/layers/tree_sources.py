"""What COPY takes of a tree in memory whose contents are in a file.

The same as ``ketch.layers.sources`` finds in that tree when it is mounted, and in the same naming,
without opening its files one by one. Where that would need more than names, modes and contents
(symbolic links on the way, extended attributes), ``Unusual`` says that only the mounted tree tells.
"""

from __future__ import annotations

import os
import posixpath
import stat
import time
from collections.abc import Iterator, Sequence

from ketch.layers.entry import Entry
from ketch.layers.names import MAX_DEPTH
from ketch.layers.sources import (
    ALL,
    MAGIC,
    Choice,
    digest_of,
    expression,
    filtered,
    skipping,
)
from ketch.layers.tree import Node
from ketch.layers.walk import Found, join

_PIECE = 1 << 20
_LATEST = 1 << 34  # seconds: later times are for the kernel to show
_SECOND = 1_000_000_000
_NO_CONTENT = -1


class Unusual(Exception):
    """The mounted tree must be asked."""


class TreeSources:
    """A tree that nobody changes; its contents are in ``fd`` from ``start`` on.

    Of what it finds the content is an offset there, -1 for what is no regular file.
    """

    def __init__(self, root: Node, fd: int, start: int) -> None:
        self.fd = fd
        self._root = root
        self._start = start

    def paths(self, patterns: Sequence[str], choice: Choice = ALL) -> list[tuple[str, Node]]:
        """Absolute paths for patterns, and what is there; as ``sources.expand`` has them."""
        if choice.parents:
            raise Unusual
        return [found for pattern in patterns for found in self._expand(pattern)]

    def _expand(self, pattern: str) -> Iterator[tuple[str, Node]]:
        clean = posixpath.normpath("/" + pattern.lstrip("/"))
        found = [("/", self._root)]
        for step in [step for step in clean.split("/") if step]:
            found = [
                (posixpath.join(path, name), child)
                for path, node in found
                for name, child in _below(node, step)
            ]
        if not found and not MAGIC.search(clean):
            raise Unusual  # an error, in words that others find
        yield from found

    def collect(self, patterns: Sequence[str], choice: Choice = ALL) -> Iterator[Found]:
        """See ``sources.collect``; raises ``Unusual`` wherever it stands."""
        found = self._collect(patterns, choice)
        return found if choice.rules is None else filtered(found, choice.rules)

    def _collect(self, patterns: Sequence[str], choice: Choice) -> Iterator[Found]:
        paths = self.paths(patterns, choice)
        skips = None if choice.rules is None else skipping(choice.rules)
        for path, top in paths:
            first: dict[int, bytes] = {}  # names of inodes; copies of one are not linked
            is_dir = top.children is not None
            base = os.fsencode(posixpath.basename(path))
            prefix = b"d%d" % len(paths) if is_dir else b"f%d/%s" % (len(paths), base)
            stack = [(prefix, top)]
            while stack:
                name, node = stack.pop()
                if skips is not None and skips(name, node.children is not None):
                    continue
                entry = _entry(name, node, first)
                if path == "/" and node is top:
                    entry.mtime = time.time_ns()  # see ``sources``
                content = self._start + node.offset if entry.is_file else _NO_CONTENT
                yield entry, content
                if node.children:
                    below = sorted(node.children.items(), reverse=True)
                    stack += [(join(name, child), inner) for child, inner in below]

    def last_time(self, patterns: Sequence[str], choice: Choice = ALL) -> int | None:
        """See ``sources.last_time``."""
        paths = self.paths(patterns, choice)
        if not paths or paths[-1][1].children is None:
            return None
        path, node = paths[-1]
        return time.time_ns() if path == "/" else node.mtime

    def digest(self, patterns: Sequence[str], choice: Choice = ALL, *, owners: bool = False) -> str:
        """See ``sources.digest``."""
        return digest_of(self.collect(patterns, choice), self.pieces, owners=owners)

    def pieces(self, entry: Entry, content: int) -> Iterator[bytes]:
        """The content of a regular file."""
        left = entry.size
        while left:
            data = os.pread(self.fd, min(left, _PIECE), content)
            if not data:
                raise EOFError("the image of a context ends early")
            yield data
            content, left = content + len(data), left - len(data)


def _below(node: Node, step: str) -> list[tuple[str, Node]]:
    """What is in a directory by a name or a pattern, sorted."""
    if node.children is None:
        return []
    if MAGIC.search(step):
        wanted = expression(step)
        names = [os.fsdecode(name) for name in node.children]
        names = sorted(name for name in names if wanted.fullmatch(name))
    else:
        names = [step] if os.fsencode(step) in node.children else []
    found = [(name, node.children[os.fsencode(name)]) for name in names]
    if any(stat.S_ISLNK(child.mode) for _, child in found):
        raise Unusual
    return found


def _entry(name: bytes, node: Node, first: dict[int, bytes]) -> Entry:
    """What ``walk`` says of an inode; a hard link, where it was met under another name."""
    if node.xattrs or not 0 <= node.mtime < _LATEST * _SECOND or name.count(b"/") >= MAX_DEPTH - 1:
        raise Unusual
    entry = Entry(name, node.mode)
    known = name
    if node.children is None and not (stat.S_ISCHR(node.mode) and node.rdev == (0, 0)):
        known = first.setdefault(id(node), name)
    if known != name:
        entry.uid, entry.gid, entry.mtime = node.uid, node.gid, node.mtime
        entry.hardlink, entry.link = True, known
    else:
        entry.take(node)
    return entry
