"""The ``Entry`` value: one file of a tar stream or of a tree, without its content."""

from __future__ import annotations

import stat

NO_XATTRS: dict[bytes, bytes] = {}
NO_DEVICE = (0, 0)


class Inode:
    """Attributes that tar, EROFS and directories all know.

    ``mode`` is st_mode of stat(2) with the type bits; ``size`` the bytes of content (regular files
    only); ``mtime`` nanoseconds since the epoch, maybe negative; ``link`` the target of a symbolic
    link; ``rdev`` is ``(major, minor)``; ``xattrs`` has full names (``security.capability``);
    ``offset`` is where the content starts in the tar stream that the inode came from.
    """

    __slots__ = ("gid", "link", "mode", "mtime", "offset", "rdev", "size", "uid", "xattrs")

    def __init__(self, mode: int) -> None:
        self.mode = mode
        self.uid = 0
        self.gid = 0
        self.size = 0
        self.mtime = 0
        self.link = b""
        self.rdev = NO_DEVICE
        self.xattrs = NO_XATTRS
        self.offset = 0

    def take(self, other: Inode) -> None:
        """Take over all attributes of another inode."""
        self.mode = other.mode  # one by one: this is done for every file of an archive
        self.uid = other.uid
        self.gid = other.gid
        self.size = other.size
        self.mtime = other.mtime
        self.link = other.link
        self.rdev = other.rdev
        self.xattrs = other.xattrs
        self.offset = other.offset


class Entry(Inode):
    """One member of an archive or one name of a tree.

    ``name`` is the path as the stream spells it; when ``hardlink`` is set, ``link`` is the path of
    the earlier entry whose inode this name shares. Mode, owner, time and extended attributes are
    that inode's then: archives repeat them, as Docker sets them with every name of an inode.
    """

    __slots__ = ("hardlink", "name")

    def __init__(self, name: bytes, mode: int) -> None:
        super().__init__(mode)
        self.name = name
        self.hardlink = False

    @property
    def is_dir(self) -> bool:
        """Whether it is a directory."""
        return stat.S_ISDIR(self.mode) and not self.hardlink

    @property
    def is_file(self) -> bool:
        """Whether it is a regular file with content of its own."""
        return stat.S_ISREG(self.mode) and not self.hardlink

    def __repr__(self) -> str:
        return f"Entry({self.name!r}, {self.mode:o}, size={self.size}, link={self.link!r})"


def shown(name: bytes) -> str:
    """A name for a message: short, printable, nothing a terminal would obey."""
    text = ascii(name.decode("utf-8", "backslashreplace"))
    return text if len(text) <= 120 else text[:117] + "...'"
