"""Putting entries into a tree that exists already: ``cp``, ADD, COPY.

Every path is resolved by openat2(2) inside the tree, links included; the last component is never
followed. What is in the way is replaced, but directories are merged, and where that is asked for,
no directory gives way to something else nor the reverse.
"""

from __future__ import annotations

import os
import posixpath
import stat
from collections.abc import Callable

from ketch.errors import InvalidParameter, NotFound
from ketch.layers.create import OPEN_DIR, create, finish_directory, set_mtime
from ketch.layers.entry import Entry, Inode, shown
from ketch.layers.modes import ModeChange
from ketch.layers.names import components
from ketch.layers.remove import remove
from ketch.layers.tree import storable
from ketch.linux.openat2 import RESOLVE_IN_ROOT, RESOLVE_NO_MAGICLINKS, openat2

Fill = Callable[[int], object]


class Ownership:
    """What is changed about entries on their way in: ``chown`` an owner, ``chmod`` mode bits.
    ``made`` is the mode of directories that have to be made for them, ``made_for`` their owner
    (None: that of the entries; where that is root, the group of a directory with the setgid bit
    goes to what is made in it, mkdir(2))."""

    __slots__ = ("chmod", "chown", "made", "made_for")

    def __init__(
        self,
        chown: tuple[int, int] | None = None,
        chmod: ModeChange | None = None,
        made: int = 0o755,
        made_for: tuple[int, int] | None = None,
    ) -> None:
        self.chown = chown
        self.chmod = chmod
        self.made = made
        self.made_for = made_for or (None if chown == (0, 0) else chown)

    def apply(self, inode: Inode) -> None:
        """Change an inode in place."""
        if self.chown is not None:
            inode.uid, inode.gid = self.chown
        if self.chmod is not None and not stat.S_ISLNK(inode.mode):
            inode.mode = stat.S_IFMT(inode.mode) | self.chmod(inode.mode)


class Unpacker:
    """Puts entries below ``base`` (a path inside the tree ``root_fd``).

    ``strict`` refuses to replace a directory by a file and the reverse (noOverwriteDirNonDir).
    Call ``finish`` at the end: directories get their times then. The umask must be 0.
    """

    def __init__(
        self,
        root_fd: int,
        base: bytes,
        *,
        ownership: Ownership | None = None,
        strict: bool = False,
    ) -> None:
        self._root_fd = root_fd
        self._base = base
        self._ownership = ownership or Ownership()
        self._strict = strict
        self._times: dict[bytes, int] = {}
        self._parent: tuple[bytes, int] | None = None
        self.entries = 0

    def put(self, entry: Entry, fill: Fill | None = None) -> None:
        """Put one entry in place; ``fill`` writes a file's content to an fd.

        Raises ``InvalidParameter`` (hostile names, links to nothing, ``strict``), OSError.
        """
        parts = components(entry.name)
        self.entries += 1
        if not parts:
            if not entry.is_dir:
                raise InvalidParameter(f"entry {shown(entry.name)}: the root must be a directory")
            return
        parent_fd = self._directory(self._path(parts[:-1]))
        if entry.hardlink:
            self._link(parent_fd, parts[-1], entry)
            return
        self._ownership.apply(entry)
        entry.xattrs = storable(entry)
        if entry.is_file and _is_file(parent_fd, parts[-1]):
            _replace(parent_fd, parts[-1], entry, fill)
        elif self._clear(parent_fd, parts[-1], entry):
            create(parent_fd, parts[-1], entry, fill)
        if entry.is_dir:
            self._describe_directory(parent_fd, self._path(parts), entry)

    def finish(self) -> None:
        """Set the times of directories, deepest first."""
        for path in sorted(self._times, reverse=True):
            try:
                fd = self._open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
            except OSError:  # replaced by a later entry
                continue
            set_mtime(fd, self._times[path])
            os.close(fd)
        self.close()

    def close(self) -> None:
        """Let go of the directory kept open."""
        if self._parent is not None:
            os.close(self._parent[1])
            self._parent = None

    def _path(self, parts: list[bytes]) -> bytes:
        return b"/".join([self._base, *parts])

    def _open(self, path: bytes, flags: int) -> int:
        resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
        return openat2(self._root_fd, path or b"/", flags, resolve=resolve)

    def _directory(self, path: bytes) -> int:
        """The directory at ``path``, made if missing; the last one stays open."""
        if self._parent is not None and self._parent[0] == path:
            return self._parent[1]
        fd = make_directories(self._root_fd, path, self._ownership)
        self.close()
        self._parent = (path, fd)
        return fd

    def _clear(self, parent_fd: int, name: bytes, entry: Entry) -> bool:
        """Make room for ``name``; False when a directory is there for a directory to merge with."""
        try:
            there = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        except FileNotFoundError:
            return True
        was_dir = stat.S_ISDIR(there.st_mode)
        if was_dir and entry.is_dir:
            return False
        if self._strict and was_dir != entry.is_dir:
            self._refuse(entry, was_dir)
        remove(parent_fd, name)
        return True

    def _refuse(self, entry: Entry, was_dir: bool) -> None:
        there, new = ("directory", "non-directory") if was_dir else ("non-directory", "directory")
        path = b"/" + posixpath.normpath(self._path(components(entry.name))).lstrip(b"/")
        raise InvalidParameter(
            f"cannot overwrite {there} {shown(path)} with {new}: remove it before, if it is to be "
            "replaced"
        )

    def _describe_directory(self, parent_fd: int, path: bytes, entry: Entry) -> None:
        fd = os.open(path.rpartition(b"/")[2], OPEN_DIR, dir_fd=parent_fd)
        try:
            finish_directory(fd, entry.name, entry)
        finally:
            os.close(fd)
        self._times[path] = entry.mtime

    def _link(self, parent_fd: int, name: bytes, entry: Entry) -> None:
        """A second name for an earlier entry; the inode itself is left as it is."""
        target = components(entry.link)
        if not target:
            raise InvalidParameter(f"entry {shown(entry.name)}: a hard link to the root")
        try:
            source_fd = self._open(self._path(target[:-1]), os.O_PATH | os.O_DIRECTORY)
        except FileNotFoundError:
            raise _no_target(entry) from None
        try:
            self._link_from(source_fd, target[-1], parent_fd, name, entry)
        finally:
            os.close(source_fd)

    def _link_from(
        self, source_fd: int, target: bytes, parent_fd: int, name: bytes, entry: Entry
    ) -> None:
        try:
            source = os.stat(target, dir_fd=source_fd, follow_symlinks=False)
        except FileNotFoundError:
            raise _no_target(entry) from None
        if stat.S_ISDIR(source.st_mode):
            raise InvalidParameter(f"entry {shown(entry.name)}: a hard link to a directory")
        if _same_file(source, parent_fd, name):
            return
        self._clear(parent_fd, name, entry)
        os.link(target, name, src_dir_fd=source_fd, dst_dir_fd=parent_fd, follow_symlinks=False)


def _is_file(dir_fd: int, name: bytes) -> bool:
    try:
        return stat.S_ISREG(os.stat(name, dir_fd=dir_fd, follow_symlinks=False).st_mode)
    except FileNotFoundError:
        return False


def _replace(dir_fd: int, name: bytes, entry: Entry, fill: Fill | None) -> None:
    """The old file is there until the new one is whole."""
    beside = b".ketch-" + os.urandom(8).hex().encode()
    create(dir_fd, beside, entry, fill)
    try:
        os.rename(beside, name, src_dir_fd=dir_fd, dst_dir_fd=dir_fd)
    except OSError as error:  # a mount point, as /etc/hosts in a container
        os.unlink(beside, dir_fd=dir_fd)
        raise OSError(error.errno, error.strerror, shown(entry.name)) from None


def _no_target(entry: Entry) -> InvalidParameter:
    return InvalidParameter(
        f"entry {shown(entry.name)}: a hard link to {shown(entry.link)}, which is not there"
    )


def _same_file(info: os.stat_result, dir_fd: int, name: bytes) -> bool:
    try:
        other = os.stat(name, dir_fd=dir_fd, follow_symlinks=False)
    except FileNotFoundError:
        return False
    return (info.st_dev, info.st_ino) == (other.st_dev, other.st_ino)


def make_directories(root_fd: int, path: bytes, ownership: Ownership) -> int:
    """``mkdir -p`` inside the tree; an fd of the last directory.

    New directories get the mode and the owner that ``ownership`` has for them. Raises ``NotFound``
    for a dangling link on the way, ``InvalidParameter`` for a file.
    """
    flags = os.O_RDONLY | os.O_DIRECTORY
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    try:
        return openat2(root_fd, path or b"/", flags, resolve=resolve)
    except FileNotFoundError:
        pass
    except NotADirectoryError:
        raise InvalidParameter(f"{shown(path)} is not a directory") from None
    walked = b""
    here = openat2(root_fd, b"/", flags, resolve=resolve)
    for name in [part for part in path.split(b"/") if part not in (b"", b".")]:
        walked += b"/" + name
        try:
            here = _enter(root_fd, here, walked, ownership)
        except NotADirectoryError:
            raise InvalidParameter(f"{shown(walked)} is not a directory") from None
        except FileNotFoundError:
            raise NotFound(f"{shown(walked)} is a link to nowhere") from None
    return here


def _enter(root_fd: int, here: int, path: bytes, ownership: Ownership) -> int:
    """Open the directory at ``path``, making its last component in ``here``; closes ``here``."""
    name = path.rpartition(b"/")[2]
    try:
        if name != b"..":
            os.mkdir(name, ownership.made, dir_fd=here)
            if ownership.made_for is not None:
                os.chown(name, *ownership.made_for, dir_fd=here, follow_symlinks=False)
    except FileExistsError:
        pass
    finally:
        os.close(here)
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    return openat2(root_fd, path, os.O_RDONLY | os.O_DIRECTORY, resolve=resolve)
