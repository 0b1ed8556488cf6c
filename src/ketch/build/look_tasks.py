"""A look at a file of a tree that is somebody else's, by a worker."""

from __future__ import annotations

import os
import stat
from base64 import b64encode
from typing import Any

from ketch.build.context_image import LARGEST_TEXT
from ketch.errors import InvalidParameter, NotFound
from ketch.linux.paths import open_in_root


def look(args: dict[str, Any], fds: list[int]) -> dict[str, Any]:
    """``path``, ``offset``, ``size`` (-1: to the end) in the tree of ``fds[0]``.

    Answers mode, size, modified (ns) and data (base64). Raises ``NotFound``, and
    ``InvalidParameter`` for more than 4 MiB.
    """
    path, offset, size = str(args["path"]), int(args["offset"]), int(args["size"])
    try:
        fd = open_in_root(fds[0], path, os.O_RDONLY | os.O_NONBLOCK | os.O_NOCTTY)
    except (FileNotFoundError, NotADirectoryError, ValueError):
        raise NotFound(f"{path}: no such file or directory") from None
    try:
        info = os.fstat(fd)
        wanted = max(info.st_size - offset, 0) if size < 0 else size
        if wanted and not stat.S_ISREG(info.st_mode):
            raise InvalidParameter(f"{path} is not a regular file")
        if wanted > LARGEST_TEXT or offset < 0:
            raise InvalidParameter(f"{path}: more than 4 MiB of it can't be read at once")
        data = os.pread(fd, wanted, offset) if wanted else b""
    finally:
        os.close(fd)
    told = {"mode": info.st_mode, "size": info.st_size, "modified": info.st_mtime_ns}
    return {**told, "data": b64encode(data).decode()}
