"""The mount system calls: fsopen(2) and its family, mount_setattr(2), umount2(2), pivot_root(2).

All need CAP_SYS_ADMIN over the mount namespace (or, for fsopen, the filesystem's namespaces).
Detached mounts are fds and vanish when the last one is closed.
"""

import ctypes
import os

from ketch.linux.libc import check, libc, path_bytes, syscall

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

AT_FDCWD = -100
AT_EMPTY_PATH = 0x1000
AT_RECURSIVE = 0x8000
AT_SYMLINK_NOFOLLOW = 0x100

ATTR_RDONLY = 0x01
ATTR_NOSUID = 0x02
ATTR_NODEV = 0x04
ATTR_NOEXEC = 0x08
ATTR_ATIME = 0x70  # the mask; 0 below it means relatime
ATTR_NOATIME = 0x10
ATTR_STRICTATIME = 0x20
ATTR_NODIRATIME = 0x80
ATTR_NOSYMFOLLOW = 0x200000

MS_REC = 1 << 14
MS_UNBINDABLE = 1 << 17
MS_PRIVATE = 1 << 18
MS_SLAVE = 1 << 19
MS_SHARED = 1 << 20
MNT_DETACH = 2

_OPEN_TREE, _MOVE_MOUNT, _FSOPEN, _FSCONFIG, _FSMOUNT = 428, 429, 430, 431, 432
_MOUNT_SETATTR = 442
_OPEN_TREE_CLONE, _OPEN_TREE_CLOEXEC = 1, os.O_CLOEXEC
_MOVE_F_EMPTY, _MOVE_T_EMPTY = 0x04, 0x40
_FSCONFIG_FLAG, _FSCONFIG_STRING, _FSCONFIG_CREATE = 0, 1, 6


def fsopen(filesystem: str) -> int:
    """A configuration context for a filesystem type, as fd; ENODEV when the kernel lacks it."""
    return syscall(_FSOPEN, filesystem.encode(), 1, what=filesystem)


def fsconfig(context: int, key: str, value: "str | None" = None) -> None:
    """Set one option: a flag when ``value`` is None, else a string of at most 255 bytes."""
    if value is None:
        syscall(_FSCONFIG, context, _FSCONFIG_FLAG, key.encode(), None, 0, what=key)
        return
    data = path_bytes(value)
    syscall(_FSCONFIG, context, _FSCONFIG_STRING, key.encode(), data, 0, what=key)


def fsmount(context: int, attributes: int = 0) -> int:
    """Create the superblock and a detached mount of it, as an O_PATH-like fd."""
    syscall(_FSCONFIG, context, _FSCONFIG_CREATE, None, None, 0)
    return syscall(_FSMOUNT, context, 1, attributes)


def new_filesystem(
    filesystem: str,
    options: "Iterable[tuple[str, str | None]]" = (),
    attributes: int = 0,
    context: int = -1,
) -> int:
    """A detached mount of a new filesystem instance; options are (key, value or None) pairs.

    Without the option ``source``, mountinfo shows the file system's name, as mount(8) has it.
    ``context`` is an fd of fsopen(2), by a process in other namespaces; it is closed.
    """
    context = context if context >= 0 else fsopen(filesystem)
    source: str | None = filesystem
    try:
        for key, value in options:
            fsconfig(context, key, value)
            if key == "source":
                source = None
        if source:
            fsconfig(context, "source", source)
        return fsmount(context, attributes)
    except OSError as error:
        raise OSError(error.errno, complaint(context) or error.strerror, filesystem) from None
    finally:
        os.close(context)


def complaint(context: int) -> str:
    """What the kernel says about a failed configuration (reading the context), or ``""``."""
    lines: list[str] = []
    while len(lines) < 8:
        try:
            lines.append(os.read(context, 1024).decode(errors="replace").strip())
        except OSError:
            break
    return "; ".join(lines)


def open_tree(path: "str | bytes", dir_fd: int = AT_FDCWD, *, recursive: bool = False) -> int:
    """A detached copy of the mount at ``path`` (with ``recursive``, of those below it too).

    An empty path means ``dir_fd`` itself.
    """
    flags = _OPEN_TREE_CLONE | _OPEN_TREE_CLOEXEC
    flags |= AT_RECURSIVE if recursive else 0
    flags |= 0 if path else AT_EMPTY_PATH
    return syscall(_OPEN_TREE, dir_fd, path_bytes(path), flags, what=os.fsdecode(path))


def move_mount(mount_fd: int, target_fd: int, target: str = "") -> None:
    """Attach (or move) the mount ``mount_fd`` at ``target`` below ``target_fd``."""
    flags = _MOVE_F_EMPTY | (0 if target else _MOVE_T_EMPTY)
    syscall(_MOVE_MOUNT, mount_fd, b"", target_fd, path_bytes(target), flags, what=target)


class _MountAttr(ctypes.Structure):
    """struct mount_attr of mount_setattr(2)."""

    _fields_ = (
        ("attr_set", ctypes.c_uint64),
        ("attr_clr", ctypes.c_uint64),
        ("propagation", ctypes.c_uint64),
        ("userns_fd", ctypes.c_uint64),
    )


def mount_setattr(
    mount_fd: int, set_: int = 0, clear: int = 0, propagation: int = 0, *, recursive: bool = False
) -> None:
    """Change attributes (``ATTR_…``) and propagation (``MS_…``) of a mount; Linux 5.12."""
    if set_ & ATTR_ATIME or clear & ATTR_ATIME:
        clear |= ATTR_ATIME
    attributes = _MountAttr(set_, clear, propagation, 0)
    flags = AT_EMPTY_PATH | (AT_RECURSIVE if recursive else 0)
    size = ctypes.sizeof(attributes)
    syscall(_MOUNT_SETATTR, mount_fd, b"", flags, ctypes.byref(attributes), size)


def mount(source: str, target: str, filesystem: str, flags: int = 0, data: str = "") -> None:
    """mount(2), for what the new calls cannot do."""
    arguments = (path_bytes(source), path_bytes(target), filesystem.encode() or None)
    check(libc.mount(*arguments, ctypes.c_ulong(flags), data.encode() or None), target)


def umount(target: "str | bytes", flags: int = 0) -> None:
    """umount2(2)."""
    check(libc.umount2(path_bytes(target), flags), os.fsdecode(target))


def pivot_root_here(keep_old: bool = False) -> None:
    """Make the current directory (a mount's root) the root; the old root is gone afterwards.

    With ``keep_old`` it stays, stacked on the new one, where no path from the root leads.

    ``pivot_root(".", ".")`` stacks the old root on the new one, from where it is detached
    (pivot_root(2), NOTES). The current directory is the new root afterwards.
    """
    check(libc.pivot_root(b".", b"."))
    if not keep_old:
        umount(".", MNT_DETACH)
    os.chdir("/")
