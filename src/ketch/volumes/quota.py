"""Project quotas: a bound on what is stored below one directory (ext4 and xfs, ``prjquota``).

A directory gets a project ID that what is made in it inherits (ioctl_xfs_fsgetxattr(2)); the limit
of the project is set with quotactl_fd(2) (Linux 5.14), whose commands of the XFS family other file
systems serve too (linux/dqblk_xfs.h).
"""

from __future__ import annotations

import ctypes
import errno
import fcntl
import os
import secrets
import struct

from ketch.errors import InvalidParameter, KetchError, errno_text
from ketch.linux.libc import syscall

_QUOTACTL_FD = 443
_PROJECTS = 2
_XFS_GET_STATE, _XFS_SET_LIMIT = 0x5805, 0x5804
_ENFORCED = 1 << 5
_GET_ATTRIBUTES, _SET_ATTRIBUTES = 0x801C581F, 0x401C5820
_ATTRIBUTES = struct.Struct("=5I8x")  # struct fsxattr
_INHERIT = 0x200
_LIMIT = struct.Struct("=bbHI6Q2i2H4x2Qqi2H8x")  # struct fs_disk_quota
_OF_PROJECT, _SPACE = 2, 4 | 8  # d_flags; d_fieldmask: soft and hard limit of blocks
_UNIT = 512
_FIRST_ID, _LAST_ID = 1 << 20, 1 << 31


def supported(folder: str) -> bool:
    """Whether the file system of a directory bounds projects."""
    state = ctypes.create_string_buffer(512)
    state[0] = b"\x01"
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        syscall(_QUOTACTL_FD, fd, _XFS_GET_STATE << 8 | _PROJECTS, 0, state)
    except OSError:
        return False
    finally:
        os.close(fd)
    return bool(struct.unpack_from("=H", state, 2)[0] & _ENFORCED)


def bound(folder: str, size: int) -> int:
    """Bound an empty directory to ``size`` bytes; the ID of its project.

    Raises ``InvalidParameter`` in Docker's words where the file system has no project quotas.
    """
    if not supported(folder):
        raise InvalidParameter(
            "quota size requested but no quota support: the file system of"
            f" {folder} is not mounted with prjquota"
        )
    project = _FIRST_ID + secrets.randbelow(_LAST_ID - _FIRST_ID)
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _set_limit(fd, project, size)
        _set_project(fd, project)
    except OSError as error:
        raise KetchError(f"cannot bound {folder} to {size} bytes: {errno_text(error)}") from error
    finally:
        os.close(fd)
    return project


def release(folder: str, project: int) -> None:
    """Forget a project's limit; what is left of its files may be deleted later."""
    fd = os.open(folder, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        _set_limit(fd, project, 0)
    except OSError as error:
        if error.errno not in (errno.ENOSYS, errno.EOPNOTSUPP, errno.ESRCH, errno.ENOENT):
            raise
    finally:
        os.close(fd)


def _set_project(fd: int, project: int) -> None:
    attributes = bytearray(_ATTRIBUTES.size)
    fcntl.ioctl(fd, _GET_ATTRIBUTES, attributes)
    flags, extent_size, extents, _, cow = _ATTRIBUTES.unpack(attributes)
    changed = _ATTRIBUTES.pack(flags | _INHERIT, extent_size, extents, project, cow)
    fcntl.ioctl(fd, _SET_ATTRIBUTES, changed)


def _set_limit(fd: int, project: int, size: int) -> None:
    blocks = -(-size // _UNIT)
    counts = (blocks, blocks, 0, 0, 0, 0)
    limit = _LIMIT.pack(1, _OF_PROJECT, _SPACE, project, *counts, *([0] * 10))
    syscall(_QUOTACTL_FD, fd, _XFS_SET_LIMIT << 8 | _PROJECTS, project, limit)
