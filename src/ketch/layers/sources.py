"""What COPY and ADD take: patterns to paths, paths to entries.

A stream of sources names its entries ``d<n>/<path below the source>`` for a source directory and
``f<n>/<base name>`` for a source file, ``n`` being how many sources there are; that is all a
destination needs to know, be it in this process or at the other end of a pipe.
"""

from __future__ import annotations

import fnmatch
import hashlib
import os
import posixpath
import re
import stat
from collections.abc import Iterator, Sequence

from ketch.errors import InvalidParameter, NotFound
from ketch.layers.entry import Entry
from ketch.layers.walk import Found, Walk, join
from ketch.linux.paths import open_in_root

_MAGIC = re.compile(r"[*?\[\\]")


def expand(root_fd: int, patterns: Sequence[str]) -> list[str]:
    """Absolute paths for patterns (Go's filepath.Match, one component at a time), sorted each.

    A plain path is returned as it is, there or not. Raises ``NotFound`` for a pattern that matches
    nothing, ``InvalidParameter`` for a malformed one.
    """
    found: list[str] = []
    for pattern in patterns:
        clean = posixpath.normpath("/" + pattern.lstrip("/"))
        matches = [clean] if not _MAGIC.search(clean) else _matches(root_fd, clean)
        if not matches:
            raise NotFound(f"no source files: nothing matches {pattern}")
        found += matches
    return found


def _matches(root_fd: int, pattern: str) -> list[str]:
    paths = ["/"]
    for step in pattern.strip("/").split("/"):
        if not _MAGIC.search(step):
            paths = [posixpath.join(path, step) for path in paths]
            continue
        expression = _expression(step)
        paths = [
            posixpath.join(path, name)
            for path in paths
            for name in _names(root_fd, path)
            if expression.fullmatch(name)
        ]
    return [path for path in paths if _exists(root_fd, path)]


def _expression(step: str) -> re.Pattern[str]:
    """One component's pattern: ``*``, ``?``, ``[a-z]``, ``[^a-z]`` and ``\\x``."""
    if step.endswith("\\") or step.count("[") > step.count("]"):
        raise InvalidParameter(f"syntax error in pattern {step!r}")
    escaped = re.sub(r"\\(.)", lambda found: f"[{found[1]}]", step.replace("[^", "[!"))
    try:
        return re.compile(fnmatch.translate(escaped))
    except re.error:
        raise InvalidParameter(f"syntax error in pattern {step!r}") from None


def _names(root_fd: int, path: str) -> list[str]:
    try:
        fd = open_in_root(root_fd, path, os.O_RDONLY | os.O_DIRECTORY)
    except OSError:
        return []
    try:
        return sorted(os.listdir(fd))
    finally:
        os.close(fd)


def _exists(root_fd: int, path: str) -> bool:
    try:
        os.close(open_in_root(root_fd, path))
    except OSError:
        return False
    return True


def collect(root_fd: int, patterns: Sequence[str]) -> Iterator[Found]:
    """Everything that the patterns name below ``root_fd``, in the naming of this module.

    Links in a source's own path are followed inside the root, links below it are kept. Raises
    ``NotFound``.
    """
    paths = expand(root_fd, patterns)
    walk = Walk()
    for path in paths:
        parent, base = os.path.split(_resolved(root_fd, path))
        yield from _one(root_fd, (parent, base or "."), len(paths), walk, path)


def _one(
    root_fd: int, where: tuple[str, str], count: int, walk: Walk, path: str
) -> Iterator[Found]:
    parent_fd = open_in_root(root_fd, where[0], os.O_RDONLY | os.O_DIRECTORY)
    try:
        name = os.fsencode(where[1])
        info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            prefix = b"d%d" % count
        else:
            base = os.path.basename(path) or where[1]
            prefix = join(b"f%d" % count, os.fsencode(base))
        yield from walk.tree(parent_fd, name, prefix)
    finally:
        os.close(parent_fd)


def _resolved(root_fd: int, path: str) -> str:
    """The path with its last component's links followed (inside the root)."""
    for _ in range(40):
        try:
            fd = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
        except (FileNotFoundError, NotADirectoryError):
            raise NotFound(f"stat {path.lstrip('/')}: file does not exist") from None
        try:
            if not stat.S_ISLNK(os.fstat(fd).st_mode):
                return path
            target = os.readlink("", dir_fd=fd)
        finally:
            os.close(fd)
        path = posixpath.normpath(posixpath.join(posixpath.dirname(path), target))
    raise InvalidParameter(f"{path}: too many symbolic links")


def digest(root_fd: int, patterns: Sequence[str]) -> str:
    """``sha256:…`` of what ``collect`` gives: names, types, modes, link targets, xattrs, contents;
    not owners and times, which differ between two checkouts of one tree."""
    sha = hashlib.sha256()
    for entry, fd in collect(root_fd, patterns):
        sha.update(_fingerprint(entry))
        if entry.is_file:
            while data := os.read(fd, 1 << 20):
                sha.update(data)
    return f"sha256:{sha.hexdigest()}"


def _fingerprint(entry: Entry) -> bytes:
    facts = (
        entry.name, entry.mode, entry.link, entry.hardlink, entry.size, entry.rdev,
        sorted(entry.xattrs.items()),
    )  # fmt: skip
    return repr(facts).encode()
