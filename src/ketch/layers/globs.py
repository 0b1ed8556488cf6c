"""What glob patterns of contexts are made of: wildcards, and classes as regular expressions.

Go's rules (path/filepath.Match): ``[…]`` is a class with ranges and ``^`` for negation, a backslash
takes the next character as it is. No class that is negated matches a slash.
"""

from __future__ import annotations

import re


class BadPattern(ValueError):
    """A pattern that is not well formed."""


def has_wildcard(text: str) -> bool:
    """Whether ``text`` is a pattern at all (``*``, ``?``, ``[`` or an escape)."""
    return any(character in text for character in "*?[\\")


def literal(name: str) -> str:
    """The pattern that only this name matches."""
    return re.sub(r"([*?\[\\])", r"\\\1", name)


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
    return f"[{'^/' if negated else ''}{body}]", position + 1


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
