"""Path lookups and making what is missing, inside a tree that is somebody else's.

``RESOLVE_IN_ROOT`` treats the directory as ``/``: absolute links and ``..`` stay inside. Magic
links (``/proc/<pid>/fd/…``) are always refused, since they lead anywhere.
"""

import os

from ketch.linux.openat2 import (
    RESOLVE_BENEATH,
    RESOLVE_IN_ROOT,
    RESOLVE_NO_MAGICLINKS,
    RESOLVE_NO_SYMLINKS,
    openat2,
)

O_PATH = os.O_PATH


def open_in_root(root_fd: int, path: str, flags: int = O_PATH, mode: int = 0) -> int:
    """Open ``path`` as a process whose root is ``root_fd`` would, without magic links."""
    if "\0" in path:
        raise ValueError("embedded null byte")
    resolve = RESOLVE_IN_ROOT | RESOLVE_NO_MAGICLINKS
    return openat2(root_fd, os.fsencode(path or "/"), flags, mode=mode, resolve=resolve)


def open_directory_without_links(folder: str, path: str) -> int:
    """A directory below ``folder``; raises OSError (ELOOP) where a symbolic link is on the way."""
    folder_fd = os.open(folder, O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return directory_without_links(folder_fd, path)
    finally:
        os.close(folder_fd)


def directory_without_links(folder_fd: int, path: str) -> int:
    """The same below an open directory."""
    resolve = RESOLVE_BENEATH | RESOLVE_NO_SYMLINKS | RESOLVE_NO_MAGICLINKS
    return openat2(folder_fd, os.fsencode(path), O_PATH | os.O_DIRECTORY, resolve=resolve)


def make_directories(root_fd: int, path: str, mode: int = 0o755) -> int:
    """``mkdir -p`` inside ``root_fd``; returns an O_PATH fd of the last directory.

    Symbolic links on the way are followed inside the root; a dangling one, or a file on the
    way, raises OSError (ENOENT, ENOTDIR).
    """
    try:
        return open_in_root(root_fd, path, O_PATH | os.O_DIRECTORY)
    except FileNotFoundError:
        pass
    walked = ""
    current = open_in_root(root_fd, "/", O_PATH | os.O_DIRECTORY)
    for name in [part for part in path.split("/") if part not in ("", ".")]:
        walked += "/" + name
        try:
            if name != "..":
                os.mkdir(name, mode, dir_fd=current)
        except FileExistsError:
            pass
        finally:
            os.close(current)
        current = open_in_root(root_fd, walked, O_PATH | os.O_DIRECTORY)
    return current


def make_file(root_fd: int, path: str, mode: int = 0o644) -> int:
    """An O_PATH fd of ``path`` inside ``root_fd``; an empty file is made when it is missing."""
    try:
        return open_in_root(root_fd, path)
    except FileNotFoundError:
        pass
    parent, _, name = path.rstrip("/").rpartition("/")
    parent_fd = make_directories(root_fd, parent or "/")
    try:
        flags = os.O_CREAT | os.O_EXCL | os.O_WRONLY | os.O_NOFOLLOW | os.O_CLOEXEC
        os.close(os.open(name, flags, mode, dir_fd=parent_fd))
        return os.open(name, O_PATH | os.O_NOFOLLOW | os.O_CLOEXEC, dir_fd=parent_fd)
    finally:
        os.close(parent_fd)
