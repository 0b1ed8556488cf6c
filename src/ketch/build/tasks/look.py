"""A look into a tree that is somebody else's, by a worker whose root it is."""

from __future__ import annotations

import json
import os
import stat
from base64 import b64decode
from typing import Any

from ketch.build.contexts.ignore import parse_ignore
from ketch.build.tasks.context_image import LARGEST_TEXT
from ketch.errors import InvalidParameter, NotFound
from ketch.layers.archive import in_root
from ketch.layers.sources import Choice, collect
from ketch.layers.tarwrite import TarWriter
from ketch.linux.paths import open_in_root

_MOST = 50_000  # names in a directory: more than a message could carry


def look(args: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """``path``, ``offset``, ``size`` (-1: to the end); links are followed.

    Answers what it is, and writes the data into ``fds[0]``. Raises ``NotFound``, and
    ``InvalidParameter`` for more than 4 MiB.
    """
    path, offset, size = str(args["path"]), int(args["offset"]), int(args["size"])
    fd = _opened(path, os.O_PATH)
    try:
        info = os.fstat(fd)
        wanted = max(info.st_size - offset, 0) if size < 0 else size
        if (size < 0 or wanted) and not stat.S_ISREG(info.st_mode):
            raise InvalidParameter(f"{path} is not a regular file")
        if wanted > LARGEST_TEXT or offset < 0:
            raise InvalidParameter(f"{path}: more than 4 MiB of it can't be read at once")
    finally:
        os.close(fd)
    if wanted:
        _copy(path, offset, wanted, fds[0])
    return _facts(os.path.basename(path), info)


def entries(args: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """What is in the directory ``path``, by name, as JSON into ``fds[0]``; links in it are not
    followed. Raises ``NotFound``, ``InvalidParameter``."""
    path = str(args["path"])
    found: list[dict[str, Any]] = []
    fd = _opened(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        for name in sorted(os.listdir(fd), key=os.fsencode):
            if len(found) >= _MOST:
                raise InvalidParameter(f"{path}: it has more than {_MOST} entries")
            info = os.stat(name, dir_fd=fd, follow_symlinks=False)
            link = os.readlink(name, dir_fd=fd) if stat.S_ISLNK(info.st_mode) else ""
            found.append({**_facts(name, info), "link": _shown(link)})
    finally:
        os.close(fd)
    with os.fdopen(os.dup(fds[0]), "w") as file:
        json.dump(found, file)
    return {}


def archive(args: dict[str, Any], fds: list[int]) -> dict[str, object]:
    """The whole tree as a tar into ``fds[0]``, without what the ``ignore`` file (in base64)
    excludes → ``{"entries"}``."""
    rules = parse_ignore(b64decode(args["ignore"]))

    def write(root_fd: int) -> dict[str, object]:
        with os.fdopen(os.dup(fds[0]), "wb", 1 << 20) as out:
            writer = TarWriter(out)
            for entry, fd in collect(root_fd, ["."], Choice(rules=rules if rules else None)):
                entry.name = entry.name.partition(b"/")[2]
                if entry.hardlink:
                    entry.link = entry.link.partition(b"/")[2]
                if entry.name:
                    writer.add(entry, fd)
            writer.finish()
        return {"entries": writer.entries}

    return in_root(write)


def _opened(path: str, flags: int) -> int:
    root = os.open("/", os.O_PATH | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        return open_in_root(root, path or "/", flags)
    except NotADirectoryError:
        raise InvalidParameter(f"{path}: not a directory") from None
    except (FileNotFoundError, ValueError):
        raise NotFound(f"{path}: no such file or directory") from None
    finally:
        os.close(root)


def _copy(path: str, offset: int, size: int, to: int) -> None:
    """Of a regular file: opening others may do something, or wait."""
    fd = _opened(path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    try:
        os.write(to, os.pread(fd, size, offset))
    finally:
        os.close(fd)


def _facts(name: str, info: os.stat_result) -> dict[str, Any]:
    return {
        "name": _shown(name),
        "mode": info.st_mode,
        "uid": info.st_uid,
        "gid": info.st_gid,
        "size": 0 if stat.S_ISDIR(info.st_mode) else info.st_size,
        "modified": info.st_mtime_ns,
    }


def _shown(name: str) -> str:
    """As a message has it, which is text."""
    return os.fsencode(name).decode(errors="replace")
