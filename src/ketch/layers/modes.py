"""Changes of mode bits as chmod(1) writes them: octal, or symbolic such as ``u=rwX,go=rX``.

Source: POSIX.1-2017, utility chmod, "Extended Description"; the umask plays no part.
"""

from __future__ import annotations

import re
import stat
from collections.abc import Callable

from ketch.errors import InvalidParameter

ModeChange = Callable[[int], int]
"""From a whole ``st_mode`` to its new permission bits."""

_CLAUSE = re.compile(r"([ugoa]*)((?:[-+=](?:[ugo]|[rwxXst]*))+)")
_ACTION = re.compile(r"([-+=])([ugo]|[rwxXst]*)")
_BITS = {"r": 4, "w": 2, "x": 1}
_PLACES = {"u": (6, stat.S_ISUID), "g": (3, stat.S_ISGID), "o": (0, 0)}


def made_mode(chmod: str) -> int:
    """Of directories that ``COPY --chmod`` makes on the way; as in BuildKit, of use or not."""
    mode = int(chmod, 8) if chmod.isdigit() else 0o755
    return mode if mode <= 0o777 else 0o755


def mode_change(text: str) -> ModeChange:
    """Read ``755``, ``0644`` or clauses; raises ``InvalidParameter``."""
    if re.fullmatch("[0-7]{1,6}", text) and int(text, 8) <= 0o7777:
        bits = int(text, 8)
        return lambda mode: bits
    clauses = [_CLAUSE.fullmatch(clause) for clause in text.split(",")]
    if not text or not all(clauses):
        raise InvalidParameter(f"invalid mode {text!r}: write octal digits or u=rwX,go=rX")
    actions = [
        (match[1], *action) for match in clauses if match for action in _ACTION.findall(match[2])
    ]

    def change(mode: int) -> int:
        for who, operator, letters in actions:
            mode = _applied(mode, who, operator, letters)
        return stat.S_IMODE(mode)

    return change


def _applied(mode: int, who: str, operator: str, letters: str) -> int:
    everybody = not who or "a" in who
    for place in "ugo" if everybody else who:
        shift, special = _PLACES[place]
        wanted = _wanted(mode, letters) << shift
        if "s" in letters:
            wanted |= special
        if operator == "=":
            mode &= ~(7 << shift | special)
        mode = mode & ~wanted if operator == "-" else mode | wanted
    if "t" in letters and everybody:
        mode = mode & ~stat.S_ISVTX if operator == "-" else mode | stat.S_ISVTX
    return mode


def _wanted(mode: int, letters: str) -> int:
    if letters in _PLACES:  # another's permissions
        return mode >> _PLACES[letters][0] & 7
    bits = 0
    for letter in letters:
        bits |= _BITS.get(letter, 0)
    if "X" in letters and (stat.S_ISDIR(mode) or mode & 0o111):
        bits |= 1
    return bits
