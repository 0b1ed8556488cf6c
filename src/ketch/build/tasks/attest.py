"""Worker functions for attestations: what a scanner wrote, and what files an output has.

Both run in a tree that nobody vouches for: links are not followed, and everything has a bound.
"""

from __future__ import annotations

import hashlib
import os
import stat
from typing import Any

from ketch.errors import InvalidParameter
from ketch.linux.paths import open_in_root

Args = dict[str, Any]
_SUFFIX = ".spdx.json"
_MOST_SCANS, _LARGEST_SCANS = 64, 24 << 20  # bytes of all
_MOST_FILES = 200_000
_FLAGS = os.O_RDONLY | os.O_NONBLOCK | os.O_NOFOLLOW | os.O_CLOEXEC


def scans(args: Args, fds: list[int]) -> Args:
    """``{"folder"}`` → ``{"scans": {file name: text}}``: the ``*.spdx.json`` of a scanner."""
    root_fd = os.open("/", os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        folder = open_in_root(root_fd, args["folder"], os.O_RDONLY | os.O_DIRECTORY)
    finally:
        os.close(root_fd)
    found: dict[str, str] = {}
    left = _LARGEST_SCANS
    try:
        names = sorted(name for name in os.listdir(folder) if name.endswith(_SUFFIX))
        for name in names:
            data = _content(folder, name, left + 1)
            left -= len(data)
            if left < 0 or len(names) > _MOST_SCANS:
                raise InvalidParameter(
                    f"the scanner wrote more than {_MOST_SCANS} files or {_LARGEST_SCANS} bytes"
                )
            found[name] = data.decode("utf-8", "replace")
    finally:
        os.close(folder)
    return {"scans": found}


def _content(folder: int, name: str, largest: int) -> bytes:
    with os.fdopen(os.open(name, _FLAGS, dir_fd=folder), "rb") as file:
        if not stat.S_ISREG(os.fstat(file.fileno()).st_mode):
            raise InvalidParameter(f"the scanner's {name} is no file")
        return file.read(largest)


def files(args: Args, fds: list[int]) -> Args:
    """``{}`` → ``{"files": [[path, sha256 in hexadecimal], …]}`` of all regular files."""
    found: list[tuple[str, str]] = []
    for folder, directories, names, fd in os.fwalk("/"):
        directories.sort()
        for name in sorted(names):
            if not stat.S_ISREG(os.stat(name, dir_fd=fd, follow_symlinks=False).st_mode):
                continue
            if len(found) == _MOST_FILES:
                raise InvalidParameter(
                    f"an attestation of more than {_MOST_FILES} files is not supported"
                )
            with os.fdopen(os.open(name, _FLAGS, dir_fd=fd), "rb") as file:
                digest = hashlib.file_digest(file, "sha256")
            path = os.path.join(folder, name).lstrip("/")
            found.append(
                (
                    path.encode(errors="surrogateescape").decode("utf-8", "replace"),
                    digest.hexdigest(),
                )
            )
    return {"files": found}
