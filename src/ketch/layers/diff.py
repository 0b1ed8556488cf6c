"""What a snapshot changed: an overlay's upper directory as a layer tar or as a list of changes.

Sources: OCI image-spec layer.md ("Change Types", "Whiteouts"); Documentation/filesystems/
overlayfs.rst for what the kernel keeps in an upper directory.
"""

from __future__ import annotations

import os
import stat
from collections.abc import Iterator
from typing import BinaryIO

from ketch.errors import InvalidParameter, NotFound, Unsupported
from ketch.layers import whiteouts
from ketch.layers.entry import Entry, shown
from ketch.layers.tarwrite import TarWriter
from ketch.layers.walk import Walk, join, list_reversed, read_xattrs
from ketch.linux.paths import open_in_root

_MODIFIED, _ADDED, _DELETED = 0, 1, 2
_FOREIGN = (b"trusted.overlay.redirect", b"trusted.overlay.metacopy")


def write_diff(upper_fd: int, out: BinaryIO, newest: int | None = None) -> int:
    """Write the upper directory as an uncompressed layer tar (OCI image-spec, layer.md) with
    ``.wh.`` files; paths sorted; returns the number of entries. Times after ``newest`` (ns) become
    that time.

    Raises ``InvalidParameter`` for a file whose own name is that of a whiteout, ``Unsupported``
    for an upper directory that overlayfs wrote with redirects or without data.
    """
    writer = TarWriter(out)
    for entry, fd in Walk().tree(upper_fd, b".", b""):
        if newest is not None:
            entry.mtime = min(entry.mtime, newest)
        if entry.name:
            writer.add(_as_member(entry), fd)
        if fd >= 0 and _is_opaque(fd, entry.name):
            writer.add(_marker(join(entry.name, whiteouts.OPAQUE), entry))
    writer.finish()
    return writer.entries


def _as_member(entry: Entry) -> Entry:
    """The entry, or the whiteout file that stands for it."""
    directory, _, name = entry.name.rpartition(b"/")
    if name.startswith(whiteouts.PREFIX):
        raise InvalidParameter(
            f"file {shown(entry.name)}: names beginning with '.wh.' mean deletion in a layer; "
            "rename or delete it"
        )
    if _means_deleted(entry):
        return _marker(join(directory, whiteouts.PREFIX + name), entry)
    return entry


def _marker(name: bytes, like: Entry) -> Entry:
    """An empty file that says something about deletion."""
    marker = Entry(name, stat.S_IFREG | 0o600)
    marker.mtime = like.mtime
    return marker


def _is_opaque(fd: int, name: bytes) -> bool:
    found = read_xattrs(fd, whiteouts.is_overlay_xattr)
    if any(key in found for key in _FOREIGN):
        raise Unsupported(
            f"{shown(name)} was written by overlayfs with redirect_dir or metacopy on; "
            "mount with both off"
        )
    return found.get(whiteouts.OPAQUE_XATTR) == b"y"


def changes(upper_fd: int, lower_fd: int) -> Iterator[tuple[str, int]]:
    """``(path, kind)`` sorted by path, as ``docker diff``: 0 modified, 1 added, 2 deleted.

    ``lower_fd`` is the root of the read-only stack below.
    """
    yield from sorted(_changes(upper_fd, lower_fd))


def _changes(upper_fd: int, lower_fd: int) -> Iterator[tuple[str, int]]:
    for entry, fd in Walk().tree(upper_fd, b".", b""):
        if not entry.name:
            continue
        path = "/" + os.fsdecode(entry.name)
        if _means_deleted(entry):
            yield path, _DELETED
            continue
        below = _lookup(lower_fd, entry.name)
        yield path, _ADDED if below is None else _MODIFIED
        if entry.is_dir and below is not None and _is_opaque(fd, entry.name):
            yield from _hidden(fd, lower_fd, entry.name)


def _means_deleted(entry: Entry) -> bool:
    return stat.S_ISCHR(entry.mode) and entry.rdev == (0, 0) and not entry.hardlink


def _hidden(upper_fd: int, lower_fd: int, path: bytes) -> Iterator[tuple[str, int]]:
    """What an opaque directory hides and does not have itself."""
    try:
        below = open_in_root(lower_fd, os.fsdecode(path), os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return
    try:
        for name in set(list_reversed(below)) - set(list_reversed(upper_fd)):
            yield "/" + os.fsdecode(join(path, name)), _DELETED
    finally:
        os.close(below)


def _lookup(lower_fd: int, path: bytes) -> os.stat_result | None:
    """lstat(2) below a root, where no directory on the way is a link."""
    try:
        fd = open_in_root(lower_fd, os.fsdecode(path), os.O_PATH | os.O_NOFOLLOW)
    except (FileNotFoundError, NotADirectoryError):
        return None
    try:
        return os.fstat(fd)
    finally:
        os.close(fd)


def open_upper(path: str) -> int:
    """An fd of an upper directory; raises ``NotFound``."""
    try:
        return os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW | os.O_CLOEXEC)
    except FileNotFoundError:
        raise NotFound(f"no upper directory {path}") from None
