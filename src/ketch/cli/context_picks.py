"""Which paths of a context directory are sent when only some are asked for.

Asked for are the sources of a Dockerfile's steps: paths and patterns from the top of the directory.
Links on the way are sent with what they lead to, always inside the directory, as BuildKit's clients
do ("follow paths"); what matches a pattern no path needs to be there for is not an error here, the
step that wants it says so.
"""

import os
import stat

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable

_MAGIC = frozenset("*?[\\")


def roots(folder: str, patterns: "Iterable[str]") -> "set[str]":
    """The paths below ``folder`` that patterns lead to; everything below these is wanted too.

    At least what the patterns match: a malformed one takes the whole directory it is about.
    """
    found = _Found(folder)
    for pattern in patterns:
        found.follow("", tuple(pattern.split("/")))
    return found.paths


class _Found:
    def __init__(self, folder: str) -> None:
        self._folder = folder
        self._seen: set[tuple[str, tuple[str, ...]]] = set()  # links may lead in circles
        self.paths: set[str] = set()

    def follow(self, here: str, rest: "tuple[str, ...]") -> None:
        """Go on from the directory ``here``, which no link leads through."""
        if (here, rest) in self._seen:
            return
        self._seen.add((here, rest))
        while rest and rest[0] in ("", ".", ".."):
            here = os.path.dirname(here) if rest[0] == ".." else here
            rest = rest[1:]
        if not rest or rest[0] == "**":  # with --parents: any number of directories
            self.paths.add(here)
            return
        for name in self._names(here, rest[0]):
            self._step(here, name, rest[1:])

    def _step(self, here: str, name: str, rest: "tuple[str, ...]") -> None:
        path = os.path.join(here, name)
        try:
            mode = os.lstat(os.path.join(self._folder, path)).st_mode
        except OSError:
            return
        if stat.S_ISLNK(mode):
            self.paths.add(path)
            target = os.readlink(os.path.join(self._folder, path))
            begin = "" if target.startswith("/") else here
            self.follow(begin, (*target.split("/"), *rest))
        elif not rest:
            self.paths.add(path)
        elif stat.S_ISDIR(mode):
            self.follow(path, rest)

    def _names(self, here: str, step: str) -> "list[str]":
        if not _MAGIC.intersection(step):
            return [step]
        try:
            names = os.listdir(os.path.join(self._folder, here))
        except OSError:
            return []
        import fnmatch
        import re

        escaped = re.sub(r"\\(.)", lambda found: f"[{found[1]}]", step.replace("[^", "[!"))
        try:
            matches = re.compile(fnmatch.translate(escaped)).match
        except re.error:
            return names
        return [name for name in names if matches(name)]
