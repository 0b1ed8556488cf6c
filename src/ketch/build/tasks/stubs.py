"""Mount points of RUN steps: made for the mounts, they must not end up in the step's layer.

Worker functions. ``missing`` looks at the image's tree before the step; ``clean`` takes out of what
the step changed (the upper directory of its overlay) the mount points that are still as they were
made, and the directories that were only copied up for them.
"""

from __future__ import annotations

import os
import posixpath
import stat
from contextlib import suppress
from typing import Any

from ketch.errors import InvalidParameter
from ketch.linux.paths import directory_without_links, open_in_root

Args = dict[str, Any]
_MOST_LINKS = 40
_OPAQUE = ("trusted.overlay.opaque", "user.overlay.opaque")


def missing(args: Args, fds: list[int]) -> Args:
    """In an image's tree: ``{"targets": [path…]}`` → ``{"missing": [path…], "there": {path:
    [mode, uid, gid, mtime in ns]}}``: what a mount would have to make, and the directories in
    which it would do so. Paths are without links."""
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    absent: list[str] = []
    there: dict[str, list[int]] = {}
    try:
        for target in args["targets"]:
            path, rest = _real(root_fd, str(target))
            if not rest:
                continue
            for end in range(len(rest)):
                absent.append(posixpath.join(path, *rest[: end + 1]))
            for folder in _ancestors(path):
                info = os.stat("." + folder, dir_fd=root_fd, follow_symlinks=False)
                there[folder] = [info.st_mode, info.st_uid, info.st_gid, info.st_mtime_ns]
    finally:
        os.close(root_fd)
    return {"missing": sorted(set(absent)), "there": there}


def _real(root_fd: int, path: str) -> tuple[str, list[str]]:
    """What of a path exists, links followed inside the root, and the components that do not."""
    done = "/"
    left = [part for part in path.split("/") if part not in ("", ".")]
    links = 0
    while left:
        part = left.pop(0)
        if part == "..":
            done = posixpath.dirname(done)
            continue
        step = posixpath.join(done, part)
        try:
            fd = open_in_root(root_fd, step, os.O_PATH | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            return done, [part, *(name for name in left if name != "..")]
        try:
            is_link = stat.S_ISLNK(os.fstat(fd).st_mode)
            goal = os.readlink("", dir_fd=fd) if is_link else ""
        finally:
            os.close(fd)
        if not is_link:
            done = step
            continue
        links += 1
        if links > _MOST_LINKS:
            raise InvalidParameter(f"{path}: too many symbolic links")
        done = "/" if goal.startswith("/") else done
        left = [name for name in goal.split("/") if name not in ("", ".")] + left
    return done, []


def _ancestors(path: str) -> list[str]:
    found = []
    while path != "/":
        found.append(path)
        path = posixpath.dirname(path)
    return found


def clean(upper_fd: int, found: Args) -> None:
    """Undo in an upper directory what making the mount points of ``missing`` did."""
    for path in sorted(found["missing"], reverse=True):
        with suppress(OSError), _folder_of(upper_fd, path) as folder:
            _take_away(folder.fd, posixpath.basename(path))
    for path in sorted(found["there"], reverse=True):
        with suppress(OSError), _folder_of(upper_fd, path) as folder:
            _forget_copy(folder.fd, posixpath.basename(path), found["there"][path])


class _folder_of:
    """The directory that a path is in; raises OSError where the step has put links on the way,
    which would lead anywhere."""

    def __init__(self, upper_fd: int, path: str) -> None:
        folder = posixpath.dirname(path).lstrip("/") or "."
        self.fd = directory_without_links(upper_fd, folder)

    def __enter__(self) -> _folder_of:
        return self

    def __exit__(self, *_: object) -> None:
        os.close(self.fd)


def _take_away(folder_fd: int, name: str) -> None:
    """A mount point that nothing was written to."""
    info = os.stat(name, dir_fd=folder_fd, follow_symlinks=False)
    if stat.S_ISDIR(info.st_mode):
        os.rmdir(name, dir_fd=folder_fd)
    elif stat.S_ISREG(info.st_mode) and not info.st_size:
        os.unlink(name, dir_fd=folder_fd)


def _forget_copy(folder_fd: int, name: str, before: list[int]) -> None:
    """A directory that is in the upper one only because something was made in it."""
    fd = os.open(name, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW, dir_fd=folder_fd)
    try:
        info = os.fstat(fd)
        same = [info.st_mode, info.st_uid, info.st_gid] == before[:3]
        if os.listdir(fd) or not same or any(key in os.listxattr(fd) for key in _OPAQUE):
            return
    finally:
        os.close(fd)
    os.rmdir(name, dir_fd=folder_fd)
