"""File operations of build graphs, by a worker that runs pivoted into the tree which they change.

Paths are somebody else's: every one is looked up inside its own root, links included. In the words
of each ``"chown"`` is ``[uid, gid]`` or None (keep), ``"time"`` ns or None. Source: BuildKit's
solver/llbsolver/file and fsutil's copy, whose behaviour is kept: a path that names a link stands
for what the link leads to, but for ``remove``.
"""

from __future__ import annotations

import os
import posixpath
import stat
import time
from collections.abc import Callable
from typing import Any

from ketch.build.tasks.copy import Args, choice_of, ownership_of, taken
from ketch.errors import InvalidParameter, NotFound
from ketch.layers import sources
from ketch.layers.archive import copier, in_root, owner_of
from ketch.layers.compression import decompressed
from ketch.layers.create import set_mtime
from ketch.layers.placing import followed, is_archive, is_directory, unpack_stream
from ketch.layers.remove import remove as remove_tree
from ketch.layers.streams import FileWindow, write_all
from ketch.layers.unpack import Ownership, Unpacker
from ketch.layers.unpack import make_directories as owned_directories
from ketch.linux.paths import open_in_root

_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY
_PLAIN = os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC


def apply(args: Args, fds: list[int]) -> Args:
    """A worker function: ``{"trees": how many fds are those of source trees, "changes": [{"do": a
    key of ``_CHANGES``, its words}…]}``, fds ``[*trees, contents]``, one after another. A copy has
    its source tree's place in ``"tree"``; a file has its content at ``"at"``, so many ``"size"``
    bytes. Raises ``NotFound`` and ``InvalidParameter``."""
    trees, contents = fds[: int(args["trees"])], fds[-1]

    def run(root_fd: int) -> Args:
        for change in args["changes"]:
            other = trees[int(change["tree"])] if "tree" in change else contents
            _CHANGES[change["do"]](root_fd, change, other)
        return {}

    return in_root(run)


def _make_file(root_fd: int, args: Args, contents: int) -> None:
    """``{"path", "mode", "chown", "time", "at", "size"}``: a file that is there keeps its mode, and
    without ``chown`` its owner."""
    path = _inside(root_fd, args["path"])
    parent_fd = _parent(root_fd, path)
    try:
        name, flags = posixpath.basename(path), os.O_WRONLY | os.O_CREAT | os.O_TRUNC | _PLAIN
        fd = os.open(name, flags, int(args["mode"]), dir_fd=parent_fd)
    except OSError as error:
        raise _failed("open", path, error) from None
    finally:
        os.close(parent_fd)
    try:
        if not stat.S_ISREG(os.fstat(fd).st_mode):
            raise InvalidParameter(f"open {path}: not a regular file")
        write_all(fd, os.pread(contents, int(args["size"]), int(args["at"])))
        _settle(fd, args)
    finally:
        os.close(fd)


def _make_directory(root_fd: int, args: Args, _: int) -> None:
    """``{"path", "mode", "parents": bool, "chown", "time"}``; one that is there stays as it is."""
    path = _inside(root_fd, args["path"])
    if args["parents"]:
        made = _make_all(root_fd, path, int(args["mode"]), owner_of(args, "chown"))
        _set_times(root_fd, made, args)
        return
    parent_fd = _parent(root_fd, path)
    try:
        os.mkdir(posixpath.basename(path) or ".", int(args["mode"]), dir_fd=parent_fd)
    except FileExistsError:
        return
    except OSError as error:
        raise _failed("mkdir", path, error) from None
    finally:
        os.close(parent_fd)
    fd = open_in_root(root_fd, path, _DIRECTORY)
    try:
        _settle(fd, args)
    finally:
        os.close(fd)


def _make_link(root_fd: int, args: Args, _: int) -> None:
    """``{"path", "target", "chown", "time"}``: a symbolic link where nothing is."""
    path = _inside(root_fd, args["path"])
    parent_fd, name = _parent(root_fd, path), posixpath.basename(path)
    try:
        os.symlink(str(args["target"]), name, dir_fd=parent_fd)
        chown = owner_of(args, "chown")
        if chown is not None:
            os.chown(name, *chown, dir_fd=parent_fd, follow_symlinks=False)
        if args.get("time") is not None:
            times = (int(args["time"]), int(args["time"]))
            os.utime(name, ns=times, dir_fd=parent_fd, follow_symlinks=False)
    except OSError as error:
        raise _failed("symlink", path, error) from None
    finally:
        os.close(parent_fd)


def _remove_all(root_fd: int, args: Args, _: int) -> None:
    """``{"path", "may_be_missing": bool, "wildcard": bool}``."""
    path = posixpath.normpath("/" + str(args["path"]).lstrip("/"))
    found = sources.expand(root_fd, [path]) if args["wildcard"] else [path]
    for one in found:
        _remove(root_fd, one, may_be_missing=bool(args["may_be_missing"]))


def _remove(root_fd: int, path: str, *, may_be_missing: bool) -> None:
    folder, name = posixpath.split(path)
    if not name:
        raise InvalidParameter("rm: the root of a tree cannot be removed")
    try:
        parent_fd = open_in_root(root_fd, folder, _DIRECTORY)
    except (FileNotFoundError, NotADirectoryError):
        if may_be_missing:
            return
        raise NotFound(f"stat {path}: no such file or directory") from None
    try:
        if not may_be_missing:
            os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        remove_tree(parent_fd, os.fsencode(name))
    except FileNotFoundError:
        raise NotFound(f"stat {path}: no such file or directory") from None
    finally:
        os.close(parent_fd)


def _copy(root_fd: int, args: Args, source_fd: int) -> None:
    """What is taken is as in ``copy_tasks``, of one pattern.

    ``{"destination", "contents", "unpack", "make_parents", "replace", "may_be_empty": bool,
    "chown", "chmod": text, "time"}``. Each source that the pattern matches is copied by itself.
    """
    destination = str(args["destination"])
    if not args["make_parents"]:
        folder = posixpath.dirname(_inside(root_fd, destination))
        if not is_directory(root_fd, folder):
            raise NotFound(f"failed to stat {destination}: no such file or directory")
    choice = choice_of(args)
    found = sources.expand(source_fd, taken(args), choice)
    if not found and not args["may_be_empty"]:
        raise NotFound(f"{taken(args)[0]} not found")
    for path in found:
        _Copying(root_fd, source_fd, args).copy(path, choice)


class _Copying:
    """Of one source."""

    def __init__(self, root_fd: int, source_fd: int, args: Args) -> None:
        self._root_fd = root_fd
        self._source_fd = source_fd
        self._args = args
        self._made: list[str] = []
        self._ownership = ownership_of(args)
        self._time = args.get("time")

    def copy(self, path: str, choice: sources.Choice) -> None:
        """``path`` is of the source. Of a directory that is there already, and is where the source
        goes itself, only the time is changed."""
        literal = "".join(f"\\{c}" if c in "*?[\\" else c for c in path)
        found = sources.collect(self._source_fd, [literal], choice)
        unpacker: Unpacker | None = None
        base, rename, skips_top = "", b"", False
        top: tuple[str, int] | None = None
        for entry, fd in found:
            head, _, below = entry.name.partition(b"/")
            is_file = head.startswith(b"f")
            if unpacker is None:
                unpacks = is_file and self._args["unpack"] and entry.is_file
                if unpacks and is_archive(fd, entry.size):
                    self._unpack(fd, entry.size)
                    continue
                base, rename = self._place(path, is_file=is_file)
                skips_top = not rename or is_directory(self._root_fd, _joined(base, rename))
                strict = not self._args["replace"]
                unpacker = Unpacker(
                    self._root_fd, os.fsencode(base), ownership=self._ownership, strict=strict
                )
            if self._time is not None:
                entry.mtime = int(self._time)
            elif entry.is_dir and fd < 0:  # only for what is in it
                entry.mtime = time.time_ns()
            if entry.is_dir and not below and skips_top:
                top = (_joined(base, rename), entry.mtime)
                continue
            entry.name = rename if is_file else b"/".join(filter(None, (rename, below)))
            if entry.hardlink:
                entry.link = b"/".join(filter(None, (rename, entry.link.partition(b"/")[2])))
            unpacker.put(entry, copier(fd, entry.size))
        if unpacker is not None:
            unpacker.finish()
        _set_times(self._root_fd, self._made, self._args)
        if top is not None:
            _set_time(self._root_fd, *top)

    def _place(self, path: str, *, is_file: bool) -> tuple[str, bytes]:
        """The directory where it goes, and its name there; "": its contents go there."""
        text = str(self._args["destination"])
        name = posixpath.basename(path)
        place = _inside(self._root_fd, text)
        if not is_file and self._args["contents"]:
            self._make(place)
            return place, b""
        if text.endswith("/") or is_directory(self._root_fd, place):
            self._make(place)
            return place, os.fsencode(name)
        folder, name = posixpath.split(place)
        self._make(folder)
        return folder, os.fsencode(name)

    def _make(self, path: str) -> None:
        self._made += _make_all(self._root_fd, path, self._ownership.made, self._ownership.chown)

    def _unpack(self, fd: int, size: int) -> None:
        base = _inside(self._root_fd, str(self._args["destination"]))
        self._make(base)
        window: Any = FileWindow(os.dup(fd), 0, size)
        ownership = Ownership(self._ownership.chown, made_for=(0, 0))
        unpacker = Unpacker(self._root_fd, os.fsencode(base), ownership=ownership)
        unpack_stream(decompressed(window), unpacker)


def _joined(base: str, name: bytes) -> str:
    return posixpath.join(base, os.fsdecode(name))


def _inside(root_fd: int, path: object) -> str:
    """Where a path leads inside the tree, be it to nothing."""
    return followed(root_fd, posixpath.normpath("/" + str(path).lstrip("/")))


def _parent(root_fd: int, path: str) -> int:
    try:
        return open_in_root(root_fd, posixpath.dirname(path), _DIRECTORY)
    except OSError as error:
        raise _failed("open", path, error) from None


def _make_all(root_fd: int, path: str, mode: int, chown: tuple[int, int] | None) -> list[str]:
    """``mkdir -p``: the directories that were made, outermost first; those alone get mode and
    owner."""
    walked, made = "", []
    for name in [part for part in path.split("/") if part]:
        walked += f"/{name}"
        if not is_directory(root_fd, walked):
            made.append(walked)
    ownership = Ownership(chown, made=mode)
    os.close(owned_directories(root_fd, os.fsencode(path), ownership))
    for one in made:
        fd = open_in_root(root_fd, one, _DIRECTORY)
        os.fchmod(fd, mode)
        os.close(fd)
    return made


def _set_times(root_fd: int, made: list[str], args: Args) -> None:
    """At the end, since what is made in a directory changes its time."""
    if args.get("time") is None:
        return
    for path in made:
        _set_time(root_fd, path, int(args["time"]))


def _set_time(root_fd: int, path: str, time: int) -> None:
    fd = open_in_root(root_fd, path, _DIRECTORY)
    try:
        set_mtime(fd, time)
    finally:
        os.close(fd)


def _settle(fd: int, args: Args) -> None:
    chown = owner_of(args, "chown")
    if chown is not None:
        mode = os.fstat(fd).st_mode
        os.fchown(fd, *chown)
        os.fchmod(fd, stat.S_IMODE(mode))
    if args.get("time") is not None:
        set_mtime(fd, int(args["time"]))


def _failed(what: str, path: str, error: OSError) -> InvalidParameter | NotFound:
    kind = NotFound if isinstance(error, FileNotFoundError) else InvalidParameter
    return kind(f"{what} {path}: {(error.strerror or '').lower()}")


_CHANGES: dict[str, Callable[[int, Args, int], None]] = {
    "copy": _copy,
    "make_file": _make_file,
    "make_directory": _make_directory,
    "make_link": _make_link,
    "remove": _remove_all,
}
