"""Glob patterns to regular expressions: shell patterns, and Go's path patterns.

Go's rules (path/filepath.Match): ``*`` and ``?`` don't match a slash, ``[…]`` is a class with
ranges and ``^`` for negation, a backslash takes the next character as it is.
"""

from __future__ import annotations

import re
from functools import lru_cache


class BadPattern(ValueError):
    """A pattern that is not well formed."""


@lru_cache(maxsize=512)
def path_pattern(pattern: str) -> re.Pattern[str]:
    """The whole-string expression of a Go path pattern; raises ``BadPattern``."""
    return re.compile(translate(pattern) + r"\Z", re.DOTALL)


def has_wildcard(text: str) -> bool:
    """Whether ``text`` is a pattern at all (``*``, ``?``, ``[`` or an escape)."""
    return any(character in text for character in "*?[\\")


def translate(pattern: str, star: str = "[^/]*", one: str = "[^/]") -> str:
    """Regular expression text of a pattern, without anchors."""
    out: list[str] = []
    position = 0
    while position < len(pattern):
        character = pattern[position]
        if character == "*":
            out.append(star)
        elif character == "?":
            out.append(one)
        elif character == "[":
            text, position = char_class(pattern, position)
            out.append(text)
            continue
        elif character == "\\":
            position += 1
            if position == len(pattern):
                raise BadPattern(f"the pattern {pattern!r} ends with a backslash")
            out.append(re.escape(pattern[position]))
        else:
            out.append(re.escape(character))
        position += 1
    return "".join(out)


def char_class(pattern: str, position: int) -> tuple[str, int]:
    """The class that begins at ``position`` and the offset behind it."""
    position += 1
    negated = pattern.startswith("^", position)
    position += negated
    ranges: list[str] = []
    while position < len(pattern) and (pattern[position] != "]" or not ranges):
        low, position = _class_character(pattern, position)
        high = low
        if pattern.startswith("-", position):
            high, position = _class_character(pattern, position + 1)
        if low <= high:
            ranges.append(f"{_class_escape(low)}-{_class_escape(high)}")
        else:
            ranges.append("")
    if position >= len(pattern):
        raise BadPattern(f"the pattern {pattern!r} has a [ without its ]")
    body = "".join(ranges)
    if not body:
        return ("[^/]" if negated else r"(?!)"), position + 1
    return f"[{'^' if negated else ''}{body}]", position + 1


def _class_character(pattern: str, position: int) -> tuple[str, int]:
    if position < len(pattern) and pattern[position] == "\\":
        position += 1
    elif position < len(pattern) and pattern[position] in "-]":
        raise BadPattern(f"the pattern {pattern!r} has a misplaced {pattern[position]} in [ ]")
    if position >= len(pattern):
        raise BadPattern(f"the pattern {pattern!r} has a [ without its ]")
    return pattern[position], position + 1


def _class_escape(character: str) -> str:
    return "\\" + character if character in "\\]^-[&~|" else character
