"""What COPY and ADD take: patterns to paths, paths to entries.

A stream of sources names its entries ``d<n>/<path below the source>`` for a source directory and
``f<n>/<base name>`` for a source file, ``n`` being how many sources there are; that is all a
destination needs to know, be it in this process or at the other end of a pipe. Sources that keep
their parents are all named like parts of one directory.
"""

from __future__ import annotations

import hashlib
import os
import posixpath
import re
import stat
import time
from collections.abc import Callable, Iterable, Iterator, Sequence
from typing import NamedTuple, Protocol

from ketch.errors import InvalidParameter, NotFound
from ketch.layers.entry import Entry
from ketch.layers.globs import BadPattern, char_class
from ketch.layers.walk import Found, Walk, describe, join, read_xattrs
from ketch.linux.paths import open_in_root

MAGIC = re.compile(r"[*?\[\\]")
_DIRECTORY = os.O_RDONLY | os.O_DIRECTORY


class Rules(Protocol):
    """Which paths are left out; relative, ``/`` between (``.dockerignore``)."""

    def excludes(self, path: str) -> bool:
        """Whether the path itself is left out."""

    def prunes(self, directory: str) -> bool:
        """Whether all below a directory is left out too."""


class Choice(NamedTuple):
    """How sources are taken: with the directories they are in, and without what rules exclude.
    Without ``follow`` one that is a link is taken as such."""

    parents: bool = False
    rules: Rules | None = None
    follow: bool = True


ALL = Choice()


def expand(root_fd: int, patterns: Sequence[str], choice: Choice = ALL) -> list[str]:
    """Absolute paths for patterns (Go's filepath.Match, one component at a time), sorted each.

    With ``parents``, ``**`` stands for any number of directories. A plain path is returned as it
    is, there or not; a pattern may match nothing. Raises ``InvalidParameter`` for a malformed one.
    """
    return [path for pattern in patterns for path in _expand(root_fd, pattern, choice)]


def _expand(root_fd: int, pattern: str, choice: Choice) -> list[str]:
    clean = posixpath.normpath("/" + pattern.lstrip("/"))
    return [clean] if not MAGIC.search(clean) else _matches(root_fd, clean, choice.parents)


def _matches(root_fd: int, pattern: str, deep: bool) -> list[str]:
    *_, paths = _steps(root_fd, pattern, deep)
    return [path for path in dict.fromkeys(paths) if _exists(root_fd, path)]


def _steps(root_fd: int, pattern: str, deep: bool) -> Iterator[list[str]]:
    """What there may be after each component of a pattern."""
    paths = ["/"]
    for step in pattern.strip("/").split("/"):
        if deep and step == "**":
            below = (found for path in paths for found in _directories(root_fd, path))
            paths = list(dict.fromkeys(below))  # a second ``**`` finds them again
        elif not MAGIC.search(step):
            paths = [posixpath.join(path, step) for path in paths]
        else:
            wanted = expression(step)
            paths = [
                posixpath.join(path, name)
                for path in paths
                for name in _names(root_fd, path)
                if wanted.fullmatch(name)
            ]
        yield paths


def passes_links(root_fd: int, patterns: Sequence[str], choice: Choice = ALL) -> bool:
    """Whether there are links on the way of patterns, the last component included."""
    for pattern in patterns:
        clean = posixpath.normpath("/" + pattern.lstrip("/"))
        for paths in _steps(root_fd, clean, choice.parents):
            if any(is_link(root_fd, path) for path in paths):
                return True
    return False


def is_link(root_fd: int, path: str) -> bool:
    """Whether a path inside the root is a symbolic link itself."""
    try:
        fd = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    except OSError:
        return False
    try:
        return stat.S_ISLNK(os.fstat(fd).st_mode)
    finally:
        os.close(fd)


def _directories(root_fd: int, top: str) -> Iterator[str]:
    """A directory and all below it; links are not followed."""
    yield top
    for name in _names(root_fd, top):
        path = posixpath.join(top, name)
        try:
            os.close(open_in_root(root_fd, path, _DIRECTORY | os.O_NOFOLLOW))
        except OSError:
            continue
        yield from _directories(root_fd, path)


def expression(step: str) -> re.Pattern[str]:
    """One component's pattern: ``*``, ``?``, ``[a-z]``, ``[^a-z]`` and ``\\x``.

    What stands between two ``*`` may as well match where it does first, since the second one takes
    the rest. Atomic groups say so: the time does not grow to the power of the stars.
    """
    try:
        first, *others = map("".join, _between_stars(step))
    except BadPattern as error:
        raise InvalidParameter(f"syntax error in pattern {step!r}: {error}") from None
    middle = [f"(?>.*?{text})" for text in others[:-1]]
    return re.compile("".join([first, *middle, *(f".*{text}" for text in others[-1:])]), re.DOTALL)


def _between_stars(step: str) -> list[list[str]]:
    found: list[list[str]] = [[]]
    position = 0
    while position < len(step):
        character = step[position]
        if character == "[":
            text, position = char_class(step, position)
            found[-1].append(text)
            continue
        escaped = character == "\\"
        if position + escaped == len(step):
            raise BadPattern("it ends with a backslash")
        if character == "*":
            found.append([])
        else:
            found[-1].append("." if character == "?" else re.escape(step[position + escaped]))
        position += 1 + escaped
    return found


def _names(root_fd: int, path: str) -> list[str]:
    try:
        fd = open_in_root(root_fd, path, _DIRECTORY)
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


def collect(root_fd: int, patterns: Sequence[str], choice: Choice = ALL) -> Iterator[Found]:
    """Everything that the patterns name below ``root_fd``, in the naming of this module.

    Links in a source's own path are followed inside the root, links below it are kept, hard ones
    within one source, as in BuildKit. Raises ``NotFound``.
    """
    if choice.parents:
        found = _with_parents(root_fd, patterns, choice)
    else:
        found = _plain(root_fd, patterns, choice)
    return found if choice.rules is None else filtered(found, choice.rules)


def _plain(root_fd: int, patterns: Sequence[str], choice: Choice) -> Iterator[Found]:
    paths = expand(root_fd, patterns, choice)
    for path in paths:
        parent, base = os.path.split(_resolved(root_fd, path) if choice.follow else path)
        yield from _one(root_fd, (parent, base or "."), len(paths), _walk(choice), path)


def last_time(root_fd: int, patterns: Sequence[str], choice: Choice = ALL) -> int | None:
    """The time of the last source (ns since the epoch) if it is a directory: where its contents go,
    that is the time as well."""
    paths = [] if choice.parents else expand(root_fd, patterns, choice)
    if not paths:
        return None
    path = _resolved(root_fd, paths[-1])
    fd = open_in_root(root_fd, path, os.O_PATH | os.O_NOFOLLOW)
    try:
        found = os.fstat(fd)
    finally:
        os.close(fd)
    if not stat.S_ISDIR(found.st_mode):
        return None
    return time.time_ns() if path == "/" else found.st_mtime_ns


def skipping(rules: Rules) -> Callable[[bytes, bool], bool]:
    """Whether rules leave out an entry by its name, and all below it if it is a directory."""

    def skips(name: bytes, is_dir: bool) -> bool:
        inner = _inner(name)
        return bool(inner) and (rules.prunes(inner) if is_dir else rules.excludes(inner))

    return skips


def _walk(choice: Choice) -> Walk:
    return Walk() if choice.rules is None else Walk(skipping(choice.rules))


def _inner(name: bytes) -> str:
    """An entry's path without the mark of its source."""
    return os.fsdecode(name.partition(b"/")[2])


def filtered(found: Iterator[Found], rules: Rules) -> Iterator[Found]:
    """Without excluded directories, unless something that is wanted lies in them."""
    waiting: list[Entry] = []
    for entry, fd in found:
        while waiting and not entry.name.startswith(waiting[-1].name + b"/"):
            waiting.pop()
        if entry.is_dir and rules.excludes(_inner(entry.name)):
            waiting.append(entry)
            continue
        yield from ((outer, -1) for outer in waiting)
        waiting.clear()
        yield entry, fd


def _with_parents(root_fd: int, patterns: Sequence[str], choice: Choice) -> Iterator[Found]:
    """Each source below the directories that lead to it, from a ``/./`` in its pattern on."""
    made: set[str] = set()
    for pattern in patterns:
        pivot = pattern.partition("/./")[0] if "/./" in pattern else ""
        depth = len([part for part in pivot.split("/") if part not in ("", ".")])
        for path in _expand(root_fd, pattern, choice):
            _resolved(root_fd, path)  # raises when it is not there
            parts = path.strip("/").split("/")
            for end in range(depth + 1, len(parts)):
                yield from _directory(root_fd, "/".join(parts[:end]), depth, made)
            yield from _tree(root_fd, parts, depth, _walk(choice))


def _directory(root_fd: int, path: str, depth: int, made: set[str]) -> Iterator[Found]:
    """A directory on the way to a source, once."""
    if path in made:
        return
    made.add(path)
    fd = open_in_root(root_fd, path, _DIRECTORY)
    try:
        entry = describe(_name(path.split("/"), depth), os.fstat(fd))
        entry.xattrs = read_xattrs(fd)
        yield entry, fd
    finally:
        os.close(fd)


def _tree(root_fd: int, parts: list[str], depth: int, walk: Walk) -> Iterator[Found]:
    parent_fd = open_in_root(root_fd, "/" + "/".join(parts[:-1]), _DIRECTORY)
    try:
        name = os.fsencode(parts[-1] or ".")
        yield from walk.tree(parent_fd, name, _name(parts, depth))
    finally:
        os.close(parent_fd)


def _name(parts: list[str], depth: int) -> bytes:
    return join(b"d2", os.fsencode("/".join(parts[depth:]))) if parts[depth:] else b"d2"


def _one(
    root_fd: int, where: tuple[str, str], count: int, walk: Walk, path: str
) -> Iterator[Found]:
    parent_fd = open_in_root(root_fd, where[0], _DIRECTORY)
    try:
        name = os.fsencode(where[1])
        info = os.stat(name, dir_fd=parent_fd, follow_symlinks=False)
        if stat.S_ISDIR(info.st_mode):
            prefix = b"d%d" % count
        else:
            base = os.path.basename(path) or where[1]
            prefix = join(b"f%d" % count, os.fsencode(base))
        for entry, fd in walk.tree(parent_fd, name, prefix):
            if where == ("/", ".") and entry.name == prefix:
                entry.mtime = time.time_ns()  # a tree's root has none that anybody gave it
            yield entry, fd
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


def digest(
    root_fd: int, patterns: Sequence[str], choice: Choice = ALL, *, owners: bool = False
) -> str:
    """``sha256:…`` of what ``collect`` gives: names, types, modes, link targets, xattrs, contents,
    and ``owners`` if wanted; not times, which differ between two checkouts of one tree."""
    return digest_of(collect(root_fd, patterns, choice), lambda _, fd: _pieces(fd), owners=owners)


def digest_of(
    found: Iterable[Found],
    pieces: Callable[[Entry, int], Iterable[bytes]],
    *,
    owners: bool = False,
) -> str:
    """``digest`` of entries with whatever ``pieces`` knows the contents of regular files by."""
    sha = hashlib.sha256()
    for entry, content in found:
        sha.update(_fingerprint(entry))
        if owners:
            sha.update(b" %d:%d" % (entry.uid, entry.gid))
        if entry.is_file:
            for piece in pieces(entry, content):
                sha.update(piece)
    return f"sha256:{sha.hexdigest()}"


def _pieces(fd: int) -> Iterator[bytes]:
    while data := os.read(fd, 1 << 20):
        yield data


def _fingerprint(entry: Entry) -> bytes:
    facts = (
        entry.name, entry.mode, entry.link, entry.hardlink, entry.size, entry.rdev,
        sorted(entry.xattrs.items()),
    )  # fmt: skip
    return repr(facts).encode()
