"""``.dockerignore``: which paths of a context are left out.

Rules as documented ("``.dockerignore`` file") and as engines match them: one Go path pattern per
line, cleaned; a pattern also takes everything below a directory it matches; ``**`` matches any
number of directories, none included; ``!`` makes an exception; the last pattern that matches wins;
a ``#`` in the first column begins a comment.

The command line and workers use this on a bare interpreter: standard library only.
"""

from __future__ import annotations

import posixpath
import re
from collections.abc import Iterable
from itertools import pairwise
from typing import NamedTuple

from ketch.errors import InvalidParameter
from ketch.layers.globs import BadPattern, char_class

_STAR, _DEPTH = "[^/]*", "(?:.*/)?"
_MOST_ODD = 2


class IgnorePattern(NamedTuple):
    """One line: ``text`` cleaned and without its ``!``."""

    text: str
    exception: bool
    expression: re.Pattern[str]


class IgnoreRules:
    """The patterns of one file, in order."""

    def __init__(self, lines: Iterable[str]) -> None:
        self.patterns = tuple(_pattern(line) for line in lines)
        self._exceptions = any(pattern.exception for pattern in self.patterns)

    def excludes(self, path: str) -> bool:
        """Whether ``path`` (relative, cleaned, ``/`` between) is left out."""
        excluded = False
        parts = path.split("/")
        for pattern in self.patterns:
            if pattern.exception == excluded and _matches(pattern, path, parts):
                excluded = not pattern.exception
        return excluded

    def prunes(self, directory: str) -> bool:
        """Whether nothing below ``directory`` can be wanted, so that a walk need not enter it."""
        return not self._exceptions and self.excludes(directory)

    def __bool__(self) -> bool:
        return bool(self.patterns)


def parse_ignore(data: bytes) -> IgnoreRules:
    """The rules of a file's bytes; raises ``InvalidParameter`` that names the bad line."""
    text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
    lines: list[str] = []
    for number, line in enumerate(text.split("\n"), 1):
        cleaned = "" if line.startswith("#") else _clean(line.strip())
        if not cleaned:
            continue
        try:
            _pattern(cleaned)
        except (BadPattern, re.error) as error:
            raise InvalidParameter(f".dockerignore line {number}: {error}") from None
        lines.append(cleaned)
    return IgnoreRules(lines)


def _clean(line: str) -> str:
    if not line:
        return ""
    mark = "!" if line.startswith("!") else ""
    pattern = line[len(mark) :].strip()
    if pattern:
        pattern = posixpath.normpath(pattern)
        pattern = "/" + pattern.lstrip("/") if pattern.startswith("/") else pattern
    if len(pattern) > 1 and pattern.startswith("/"):
        pattern = pattern[1:]
    return mark + pattern


def _pattern(line: str) -> IgnorePattern:
    exception = line.startswith("!")
    text = line[1:] if exception else line
    if not text:
        raise BadPattern('illegal exclusion pattern: "!"')
    return IgnorePattern(text, exception, re.compile(_expression(text), re.DOTALL))


def _matches(pattern: IgnorePattern, path: str, parts: list[str]) -> bool:
    """The path itself, or any of the directories that it is in."""
    if pattern.expression.fullmatch(path):
        return True
    return any(
        pattern.expression.fullmatch("/".join(parts[:count])) for count in range(1, len(parts))
    )


def _expression(pattern: str) -> str:
    suffix = pattern.removeprefix("**")
    if suffix != pattern and not any(character in suffix for character in "*?[\\/"):
        return ".*" + re.escape(suffix)  # engines take ``**x`` for "ends with x"
    segments: list[tuple[str, list[str]]] = [("", [])]  # what a ``**`` means, what follows it
    position = 0
    while position < len(pattern):
        if pattern.startswith("**", position):
            text, position = _any_depth(pattern, position + 2)
            segments += [(text, [])] if text else []
        else:
            text, position = _one(pattern, position)
            segments[-1][1].append(text)
    return _joined(segments, pattern)


def _joined(segments: list[tuple[str, list[str]]], pattern: str) -> str:
    """Whole directories between two ``**`` may as well match where they do first, since the second
    one takes the rest. The atomic group says so: without it the time grows with the depth of a path
    to the power of their number, which a hostile file could choose."""
    out = []
    odd = 0
    for place, (depth, texts) in enumerate(segments):
        more = place + 1 < len(segments)
        if depth == _DEPTH and more and texts[-1:] == ["/"]:
            out.append(f"(?>(?:[^/]*/)*?{_within(texts)})")
        else:
            odd += bool(depth) and more
            out.append(depth + _within(texts))
    if odd > _MOST_ODD:
        raise BadPattern(f"the pattern {pattern!r} has too many ** that are no whole directory")
    return "".join(out)


def _within(texts: list[str]) -> str:
    """The same for what stands between two ``*``."""
    stars = [place for place, text in enumerate(texts) if text == _STAR] + [len(texts)]
    out = ["".join(texts[: stars[0]])]
    for begin, end in pairwise(stars):
        fixed = "".join(texts[begin + 1 : end])
        out.append(f"(?>[^/]*?{fixed})" if end < len(texts) else _STAR + fixed)
    return "".join(out)


def _any_depth(pattern: str, position: int) -> tuple[str, int]:
    while pattern.startswith("*", position):
        position += 1
    if pattern.startswith("/", position):
        position += 1
    if position == len(pattern):
        return ".*", position
    if pattern.startswith("**", position):
        return "", position
    return _DEPTH, position


def _one(pattern: str, position: int) -> tuple[str, int]:
    character = pattern[position]
    if character == "*":
        return _STAR, position + 1
    if character == "?":
        return "[^/]", position + 1
    if character == "[":
        return char_class(pattern, position)
    if character == "\\":
        if position + 1 == len(pattern):
            raise BadPattern(f"the pattern {pattern!r} ends with a backslash")
        return re.escape(pattern[position + 1]), position + 2
    return re.escape(character), position + 1
