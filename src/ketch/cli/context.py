"""The build context as a tar stream: a directory less what ``.dockerignore`` excludes, or some
paths of it.

Excluded bytes never leave the machine (an archive of what is not excluded is sent); the Dockerfile
and ``.dockerignore`` themselves are always sent, since the engine needs them.
"""

import os
import stat

from ketch.cli import tar_entries

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator
    from typing import BinaryIO

    from ketch.build.contexts.ignore import IgnoreRules

    Named = tuple[str, os.stat_result | None]  # a path, and what is known of it
    Part = tuple[str, str, Iterable[Named]]  # a directory, its prefix in the archive, what of it

CHUNK = 1 << 18
NAMED = ".ketch-contexts"  # the engine moves what is below it out of the context
MAGICS = (b"\x1f\x8b", b"BZh", b"\xfd7zXZ\x00", b"\x28\xb5\x2f\xfd")


def looks_like_archive(first: bytes) -> bool:
    """Whether 512 bytes begin a tar archive, plain or compressed."""
    return first.startswith(MAGICS) or first[257:262] == b"ustar"


def chain(first: bytes, rest: "BinaryIO") -> "Iterator[bytes]":
    """The bytes already read, then the rest of the stream."""
    yield first
    while piece := rest.read(CHUNK):
        yield piece


def lone(dockerfile: bytes) -> "Iterator[bytes]":
    """A context of nothing but a Dockerfile."""
    yield b"".join([*tar_entries.of_bytes("Dockerfile", dockerfile), tar_entries.END])


def parts(folder: str, dockerfile: str, named: "dict[str, str] | None" = None) -> "Iterator[Part]":
    """What is sent of a directory, and of further ones that are ``named``, each less what its own
    ``.dockerignore`` excludes."""
    kept = {dockerfile, ".dockerignore", dockerfile + ".dockerignore"}
    yield folder, "", _names(folder, _rules(folder, dockerfile), kept)
    for name, path in (named or {}).items():
        yield path, f"{NAMED}/{name.encode().hex()}/", _names(path, _rules(path, ""), set())


def measured(found: "Iterable[Part]", most: int) -> "list[Part] | None":
    """The same as lists, None if what they name has more than ``most`` bytes."""
    size = 0
    known: list[Part] = []
    for folder, prefix, names in found:
        listed: list[Named] = []
        for name, _ in names:
            info = os.lstat(os.path.join(folder, name))
            listed.append((name, info))
            size += info.st_size if stat.S_ISREG(info.st_mode) else 0
            if size > most:
                return None
        known.append((folder, prefix, listed))
    return known


def stream(
    found: "Iterable[Part]", elsewhere: "dict[str, bytes] | None" = None
) -> "Iterator[bytes]":
    """The tar stream of what is sent, and of files from ``elsewhere`` by name."""
    for folder, prefix, names in found:
        if prefix:
            yield b"".join(tar_entries.of_directory(prefix))
        yield from _directory(folder, prefix, names)
    for name, content in (elsewhere or {}).items():
        yield b"".join(tar_entries.of_bytes(name, content))
    yield tar_entries.END


def some(folder: str, patterns: "Iterable[str]", dockerfile: str = "") -> "Iterator[bytes]":
    """The tar stream of what patterns lead to in a directory (``context_picks``), and nothing
    that is excluded, be it the Dockerfile; ``dockerfile`` says whose ignore file counts."""
    from ketch.cli import context_picks

    picked = context_picks.roots(folder, patterns)
    names = _names(folder, _rules(folder, dockerfile), set(), picked)
    yield from _directory(folder, "", names)
    yield tar_entries.END


def _directory(folder: str, prefix: str, names: "Iterable[Named]") -> "Iterator[bytes]":
    pieces: list[bytes] = []
    size = 0
    for name, info in names:
        for piece in tar_entries.of_path(folder, name, prefix, info):
            pieces.append(piece)
            size += len(piece)
            if size > CHUNK:
                yield b"".join(pieces)
                pieces, size = [], 0
    yield b"".join(pieces)


def of_dockerfile(folder: str, dockerfile: str, elsewhere: "dict[str, bytes]") -> "Iterator[bytes]":
    """Like ``stream`` with nothing but the Dockerfile and its ignore files."""
    for name in (dockerfile, dockerfile + ".dockerignore", ".dockerignore"):
        path = os.path.join(folder, name)
        if name in elsewhere:
            yield b"".join(tar_entries.of_bytes(name, elsewhere[name]))
        elif os.path.isfile(path):
            with open(path, "rb") as file:
                yield b"".join(tar_entries.of_bytes(name, file.read()))
    yield tar_entries.END


def _rules(folder: str, dockerfile: str) -> "IgnoreRules | None":
    """``DOCKERFILE.dockerignore`` if there is one, else ``.dockerignore``, else no rules. A
    Dockerfile that is not in ``folder`` is given by its absolute path.

    Without any, regular expressions are not even imported: that is a third of a cached build.
    """
    for name in (dockerfile + ".dockerignore", ".dockerignore"):
        try:
            with open(os.path.join(folder, name), "rb") as file:
                text = file.read()
        except FileNotFoundError:
            continue
        from ketch.build.contexts.ignore import parse_ignore

        return parse_ignore(text)
    return None


def _names(
    folder: str,
    ignore: "IgnoreRules | None",
    kept: "set[str]",
    picked: "Collection[str]" = ("",),
) -> "Iterator[Named]":
    names = _walk(folder, ignore, kept, picked)
    return ((name, None) for name in (names if ignore is None else _with_parents(names)))


def _with_parents(names: "Iterable[str]") -> "Iterator[str]":
    """A directory that is excluded is sent where something in it is not: its mode counts."""
    told: set[str] = set()
    for name in names:
        parts = name.split("/")
        for count in range(1, len(parts) + 1):
            path = "/".join(parts[:count])
            if path not in told:
                told.add(path)
                yield path


def _walk(
    folder: str, ignore: "IgnoreRules | None", kept: "set[str]", picked: "Collection[str]"
) -> "Iterator[str]":
    """Relative paths to send, parents before children, sorted: those ``picked``, all below them,
    and the directories that lead there."""
    ways = {path[:end] for path in picked for end, sign in enumerate(path) if sign == "/"}
    pending = [("", "" in picked)]
    while pending:
        here, whole = pending.pop()
        with os.scandir(os.path.join(folder, here)) as entries:
            found = sorted(entries, key=lambda entry: entry.name)
        below = []
        for entry in found:
            name = os.path.join(here, entry.name)
            all_of_it = whole or name in picked
            if not all_of_it and name not in ways:
                continue
            is_folder = entry.is_dir(follow_symlinks=False)
            excluded = ignore is not None and ignore.excludes(name) and name not in kept
            if not excluded:
                yield name
            if is_folder and not (ignore is not None and ignore.prunes(name)):
                below.append((name, all_of_it))
        pending.extend(reversed(below))
