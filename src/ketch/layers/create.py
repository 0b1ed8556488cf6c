"""Making one inode in a directory given as fd, with all its attributes, following no link."""

from __future__ import annotations

import errno
import os
import stat
from collections.abc import Callable, Iterator
from contextlib import contextmanager

from ketch.errors import InvalidParameter
from ketch.layers.entry import Inode, shown

OPEN_DIR = os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC
_CREATE = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC


def create(
    dir_fd: int, name: bytes, inode: Inode, fill: Callable[[int], object] | None = None
) -> None:
    """Make ``inode`` as ``name``, which must not exist; ``fill`` writes a file's content to an fd.

    Directories get their attributes later by ``finish_directory``. The umask must be 0. Needs
    CAP_CHOWN, CAP_FOWNER, CAP_MKNOD and, for ``trusted.`` attributes, CAP_SYS_ADMIN. Raises
    OSError, ``InvalidParameter`` for attributes that the kernel refuses as malformed.
    """
    if stat.S_ISDIR(inode.mode):
        os.mkdir(name, 0o700, dir_fd=dir_fd)
    elif stat.S_ISREG(inode.mode):
        _create_file(dir_fd, name, inode, fill)
    else:
        _create_special(dir_fd, name, inode)
        _set_times(dir_fd, name, inode)


def _create_file(
    dir_fd: int, name: bytes, inode: Inode, fill: Callable[[int], object] | None
) -> None:
    fd = os.open(name, _CREATE, 0o600, dir_fd=dir_fd)
    try:
        if fill is not None and inode.size:
            fill(fd)
        _describe(fd, name, inode)
        os.utime(fd, ns=(inode.mtime, inode.mtime))
    except BaseException:  # a full disk: half a file is worse than none
        os.unlink(name, dir_fd=dir_fd)
        raise
    finally:
        os.close(fd)


def _create_special(dir_fd: int, name: bytes, inode: Inode) -> None:
    if stat.S_ISLNK(inode.mode):
        os.symlink(inode.link, name, dir_fd=dir_fd)
    else:
        _make_node(dir_fd, name, inode)
    os.chown(name, inode.uid, inode.gid, dir_fd=dir_fd, follow_symlinks=False)
    if inode.xattrs:
        with working_directory(dir_fd):
            set_xattrs(name, name, inode.xattrs)


def _make_node(dir_fd: int, name: bytes, inode: Inode) -> None:
    try:
        os.mknod(name, inode.mode, os.makedev(*inode.rdev), dir_fd=dir_fd)
    except PermissionError:
        if not stat.S_ISCHR(inode.mode) or inode.rdev != (0, 0):
            raise
        raise InvalidParameter(
            f"entry {shown(name)}: a character device 0:0 means deletion in a layer and can't be"
            " made; leave it out"
        ) from None


def finish_directory(fd: int, name: bytes, inode: Inode) -> None:
    """Give a directory its owner, mode and attributes; its times come last, by ``set_mtime``."""
    _describe(fd, name, inode)


def set_mtime(fd: int, mtime: int) -> None:
    """Set both times of an open directory, in nanoseconds."""
    os.utime(fd, ns=(mtime, mtime))


def _describe(fd: int, name: bytes, inode: Inode) -> None:
    """Owner first: chown(2) clears set-ID bits and file capabilities."""
    os.fchown(fd, inode.uid, inode.gid)
    os.fchmod(fd, inode.mode & 0o7777)
    if inode.xattrs:
        set_xattrs(fd, name, inode.xattrs)


def _set_times(dir_fd: int, name: bytes, inode: Inode) -> None:
    os.utime(name, ns=(inode.mtime, inode.mtime), dir_fd=dir_fd, follow_symlinks=False)


def set_xattrs(where: int | bytes, name: bytes, xattrs: dict[bytes, bytes]) -> None:
    """Set extended attributes of an fd, or of a name in the working directory itself.

    What the filesystem has no room for (ENOTSUP) is left out, as tar and cp do.
    """
    for key, value in sorted(xattrs.items()):
        try:
            if isinstance(where, int):
                os.setxattr(where, key, value)
            else:
                os.setxattr(where, key, value, follow_symlinks=False)
        except OSError as error:
            if error.errno == errno.EINVAL:
                raise InvalidParameter(
                    f"entry {shown(name)}: the kernel refuses its xattr {shown(key)}"
                ) from error
            if error.errno != errno.ENOTSUP:
                raise


@contextmanager
def working_directory(fd: int) -> Iterator[None]:
    """Stand in a directory for the few calls that take no directory fd (setxattr(2)).

    Changes the whole process; only workers, which have one thread that looks at paths, do it.
    """
    before = os.open(".", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fchdir(fd)
        yield
    finally:
        os.fchdir(before)
        os.close(before)


@contextmanager
def open_umask() -> Iterator[None]:
    """A umask of 0, so that modes come out as asked for."""
    before = os.umask(0)
    try:
        yield
    finally:
        os.umask(before)
