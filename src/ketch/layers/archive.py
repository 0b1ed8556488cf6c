"""Worker functions on a container's tree; each runs pivoted into it: ``/`` is the tree.

All have the signature ``(args, fds) -> dict`` of the launcher's ``work`` operation, and raise
``NotFound``, ``InvalidParameter``, ``DataCorrupt`` or OSError. Paths in ``args`` are text of the
container (surrogateescape for bytes that are not UTF-8), relative ones start at ``/``. The fds
belong to the caller.
"""

from __future__ import annotations

import os
import stat as stat_module
from collections.abc import Callable
from typing import BinaryIO, cast

from ketch.errors import InvalidParameter, KetchError, NotFound
from ketch.layers import diff
from ketch.layers.compression import decompressed
from ketch.layers.create import open_umask
from ketch.layers.placing import unpack_stream
from ketch.layers.tarwrite import TarWriter
from ketch.layers.unpack import Fill, Ownership, Unpacker
from ketch.layers.walk import Walk
from ketch.linux.filesystems import is_made_up
from ketch.linux.paths import open_in_root

Args = dict[str, object]


def stat(args: Args, fds: list[int]) -> Args:
    """``{"path"}`` → ``{"name", "size", "mode", "mtime", "link_target"}`` (``PathStat``)."""
    return in_root(lambda root_fd: _path_stat(root_fd, _path(args)))


def get(args: Args, fds: list[int]) -> Args:
    """``{"path"}``, fds ``[out]``: the path as an uncompressed tar, root entry named by the base
    name (``./`` for a path that ends in ``/.``) → ``{"stat": …}``."""

    def run(root_fd: int) -> Args:
        path = _path(args)
        found = _path_stat(root_fd, path)
        parent, base = _split(path)
        prefix = b"." if base in (".", "") else os.fsencode(base)
        if path.endswith("/"):
            parent, base = path, "."
        parent_fd = open_in_root(root_fd, parent, os.O_RDONLY | os.O_DIRECTORY)
        try:
            walk = Walk(closed=_engines_own(root_fd, prefix))
            _write_tree(fds[0], parent_fd, os.fsencode(base or "."), prefix, walk)
        finally:
            os.close(parent_fd)
        return {"stat": found}

    return in_root(run)


def put(args: Args, fds: list[int]) -> Args:
    """``{"path", "no_overwrite_dir_non_dir": bool, "chown": [uid, gid] or None}``, fds ``[in]``:
    unpack a tar (compressed or not) into the directory ``path`` → ``{"entries"}``."""

    def run(root_fd: int) -> Args:
        path = _path(args)
        found = _path_stat(root_fd, path.rstrip("/") + "/.")
        if not stat_module.S_ISDIR(cast(int, found["mode"])):
            raise InvalidParameter("extraction point is not a directory")
        unpacker = Unpacker(
            root_fd,
            os.fsencode(path),
            ownership=Ownership(owner_of(args, "chown")),
            strict=bool(args.get("no_overwrite_dir_non_dir")),
        )
        return {"entries": unpack_stream(decompressed(_reader(fds[0])), unpacker)}

    return in_root(run)


def export(args: Args, fds: list[int]) -> Args:
    """``{}``, fds ``[out]``: the whole tree as an uncompressed tar → ``{"entries"}``.

    ``prefix`` is a directory to put all into, ``mtime`` (ns) the time of every entry, ``open`` says
    that more follows: no end is written.
    """
    prefix = os.fsencode(str(args.get("prefix") or ""))
    mtime = args.get("mtime")

    def write(root_fd: int) -> Args:
        with os.fdopen(os.dup(fds[0]), "wb", 1 << 20) as out:
            writer = TarWriter(out)
            for entry, fd in Walk().tree(root_fd, b".", prefix):
                if isinstance(mtime, int):
                    entry.mtime = mtime
                if entry.name:
                    writer.add(entry, fd)
            if not args.get("open"):
                writer.finish()
        return {"entries": writer.entries}

    return in_root(write)


def copy_up(args: Args, fds: list[int]) -> Args:
    """``{"path"}``, fds ``[volume]`` (a directory): copy what the image holds at ``path`` into the
    volume if that is empty, and the directory's owner and mode → ``{"entries"}``."""

    def run(root_fd: int) -> Args:
        if os.listdir(fds[0]):
            return {"entries": 0}
        try:
            fd = open_in_root(root_fd, _path(args), os.O_RDONLY | os.O_DIRECTORY)
        except (FileNotFoundError, NotADirectoryError):
            return {"entries": 0}
        try:
            return {"entries": _copy_up(fd, fds[0])}
        finally:
            os.close(fd)

    return in_root(run)


def changes(args: Args, fds: list[int]) -> Args:
    """``{}``, fds ``[upper directory]``, run in the tree of the layers below (``view``) →
    ``{"changes": [[path, kind]…]}``, kind as ``docker diff``."""
    return in_root(
        lambda root_fd: {"changes": [[path, kind] for path, kind in diff.changes(fds[0], root_fd)]}
    )


def copier(fd: int, size: int) -> Fill:
    """A function that copies the content of a file, in the kernel, to an fd."""

    def fill(out: int) -> None:
        offset = 0
        while offset < size:
            sent = os.sendfile(out, fd, offset, min(size - offset, 1 << 30))
            if not sent:  # shrunk meanwhile
                os.ftruncate(out, size)
                return
            offset += sent

    return fill


def in_root(run: Callable[[int], Args]) -> Args:
    """Run a task on the tree at ``/``, with a umask of 0; ``run`` gets an fd of it."""
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        with open_umask():
            return run(root_fd)
    finally:
        os.close(root_fd)


def _path(args: Args) -> str:
    path = str(args.get("path") or "")
    if not path:
        raise InvalidParameter("bad parameter: path cannot be empty")
    if "\0" in path:
        raise InvalidParameter("bad parameter: path holds a NUL byte")
    return "/" + path.lstrip("/")


def _split(path: str) -> tuple[str, str]:
    """Parent and last component; a trailing slash is no component."""
    parent, _, base = path.rstrip("/").rpartition("/")
    return parent or "/", base


def _path_stat(root_fd: int, path: str) -> Args:
    flags = os.O_PATH if path.endswith(("/", "/.")) else os.O_PATH | os.O_NOFOLLOW
    try:
        fd = open_in_root(root_fd, path, flags)
    except FileNotFoundError:
        raise NotFound(f"lstat {path}: no such file or directory") from None
    except NotADirectoryError:
        raise _not_a_directory(root_fd, path) from None
    try:
        info = os.fstat(fd)
        is_link = stat_module.S_ISLNK(info.st_mode)
        return {
            "name": _split(path)[1] or "/",
            "size": info.st_size,
            "mode": info.st_mode,
            "mtime": info.st_mtime_ns,
            "link_target": os.readlink("", dir_fd=fd) if is_link else "",
        }
    finally:
        os.close(fd)


def _not_a_directory(root_fd: int, path: str) -> KetchError:
    """The error for a path that treats a file as a directory: Docker tells the two cases apart."""
    if path.endswith("/."):
        return InvalidParameter("extraction point is not a directory")
    return KetchError(f"lstat {path}: not a directory")


def _engines_own(root_fd: int, top: bytes) -> Callable[[bytes, int], bool]:
    """Of directories below ``top``: those whose content is the kernel's or the engine's, not the
    container's. As dockerd, ``cp`` takes them empty: /proc and the like, and a mounted /dev."""
    root = os.fstat(root_fd)
    try:
        devices = os.stat("dev", dir_fd=root_fd, follow_symlinks=False)
    except FileNotFoundError:
        devices = root
    mounted = devices.st_dev != root.st_dev

    def closed(path: bytes, fd: int) -> bool:
        if mounted and path != top and os.path.samestat(os.fstat(fd), devices):
            return True
        return is_made_up(fd)

    return closed


def _write_tree(
    out_fd: int, dir_fd: int, name: bytes, prefix: bytes, walk: Walk | None = None
) -> int:
    with os.fdopen(os.dup(out_fd), "wb", 1 << 20) as out:
        writer = TarWriter(out)
        for entry, fd in (walk or Walk()).tree(dir_fd, name, prefix):
            if entry.name:
                writer.add(entry, fd)
        writer.finish()
    return writer.entries


def _copy_up(source_fd: int, volume_fd: int) -> int:
    unpacker = Unpacker(volume_fd, b"")
    for entry, fd in Walk().tree(source_fd, b".", b""):
        if entry.name:
            unpacker.put(entry, copier(fd, entry.size))
        else:
            os.fchown(volume_fd, entry.uid, entry.gid)
            os.fchmod(volume_fd, stat_module.S_IMODE(entry.mode))
    unpacker.finish()
    return unpacker.entries


def _reader(fd: int) -> BinaryIO:
    return os.fdopen(os.dup(fd), "rb", 1 << 20)


def owner_of(args: Args, key: str) -> tuple[int, int] | None:
    """The ``[uid, gid]`` of a task's arguments, if there is one."""
    given = args.get(key)
    if not isinstance(given, list | tuple):
        return None
    uid, gid = given
    return int(uid), int(gid)
