"""Words of others as text: names, errors, lines of a Dockerfile, what a step says.

Whoever wrote them may have put commands to the terminal there, or letters that make others read in
another order than the engine does. Every character is shown, none is obeyed.
"""

_KEPT = "\n\t"
_ORDER = frozenset("\u061c\u200e\u200f\u202a\u202b\u202c\u202d\u202e\u2066\u2067\u2068\u2069")


def visible(text: str) -> str:
    """The text with control characters written as Python does (``\\x1b``)."""
    if text.isprintable():
        return text
    return "".join(_shown(c) if _commands(c) else c for c in text)


def coloured(text: str) -> str:
    """What a program said, for a terminal: colours, backspaces and carriage returns work as it
    meant them, nothing else does."""
    if text.isprintable():
        return text
    import re

    pieces = re.split(r"(\x1b\[[0-9;:]*m|[\r\b])", text)
    pieces[::2] = [visible(piece) for piece in pieces[::2]]
    return "".join(pieces)


def _commands(c: str) -> bool:
    return (c < " " and c not in _KEPT) or "\x7f" <= c <= "\x9f" or c in _ORDER


def _shown(c: str) -> str:
    return c.encode("unicode_escape").decode()
