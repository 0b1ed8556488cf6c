"""Directories whose contents lie apart on the disk, for ext4 without a journal.

Such a file system, usual in small virtual machines, does not give an inode away again for minutes
after its last owner was deleted, and to find one that it may give looks at every inode of the block
group that was freed lately (fs/ext4/ialloc.c, ``recently_deleted``). What is made in a directory is
made in its group, so where containers come and go, making a file soon costs ten times what it
should. With directories in many groups each of them sees a fraction of that. With a journal there
is no such search, and other file systems have other ways: there nothing is spread.
"""

from __future__ import annotations

import itertools
import os
from collections.abc import Iterator
from zlib import crc32

from ketch.linux.inode_flags import spread_directories

_COUNT = 8  # what is read from the disk for the first use of a group costs a millisecond or two


class Nests:
    """Directories to make things in that get their place below ``root`` by rename(2) later.

    They are ``nests/<nn>``, made when the first thing is. Where nothing is gained by them there is
    only ``tmp``.
    """

    def __init__(self, root: str, count: int = _COUNT) -> None:
        self._tmp = os.path.join(root, "tmp")
        self._parent = os.path.join(root, "nests")
        self._count = count
        self._next: Iterator[str] | None = None

    def path(self, name: str) -> str:
        """A path for something new; ``name`` is one that nobody else uses."""
        self.prepare()
        assert self._next is not None
        return os.path.join(next(self._next), name)

    def prepare(self) -> None:
        """Make them now."""
        if self._next is None:
            self._next = itertools.cycle(self._made())

    def by_name(self, name: str) -> str:
        """A path for something new that every process comes to that knows its name; in ``tmp`` as
        long as nobody has made the directories."""
        nest = os.path.join(self._parent, f"{crc32(os.fsencode(name)) % self._count:02}")
        return os.path.join(nest if os.path.isdir(nest) else self._tmp, name)

    def everything(self, *others: str) -> list[str]:
        """Paths of all that was made and not renamed yet, here, in ``tmp`` and in ``others``."""
        found = []
        for directory in (self._tmp, *_below(self._parent), *others):
            found += _below(directory)
        return found

    def _made(self) -> list[str]:
        os.makedirs(self._tmp, mode=0o710, exist_ok=True)
        if not wants_spreading(self._tmp):
            return [self._tmp]
        os.makedirs(self._parent, mode=0o710, exist_ok=True)
        spread_directories(self._parent)
        nests = [os.path.join(self._parent, f"{number:02}") for number in range(self._count)]
        for nest in nests:
            os.makedirs(nest, mode=0o710, exist_ok=True)
        return nests


def _below(directory: str) -> list[str]:
    try:
        return [os.path.join(directory, name) for name in os.listdir(directory)]
    except FileNotFoundError:
        return []


def wants_spreading(path: str) -> bool:
    """Whether ``path`` is on an ext4 without a journal."""
    device = os.stat(path).st_dev
    block = f"/sys/dev/block/{os.major(device)}:{os.minor(device)}"
    name = os.path.basename(os.path.realpath(block))
    try:
        with open(f"/sys/fs/ext4/{name}/journal_task", encoding="ascii") as file:
            return file.read().strip() == "<none>"
    except OSError:
        return False
