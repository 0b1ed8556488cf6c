"""The key sequence that detaches a client (pure)."""

from __future__ import annotations

from ketch.errors import InvalidParameter

DEFAULT = "ctrl-p,ctrl-q"
_SPECIAL = {"@": 0, "[": 27, "\\": 28, "]": 29, "^": 30, "_": 31}


def parse(text: str) -> list[int]:
    """``ctrl-p,ctrl-q`` → ``[16, 17]``; empty means the default.

    A key is one character, or ``ctrl-`` with a letter or one of ``@ [ \\ ] ^ _``. Raises
    ``InvalidParameter``.
    """
    return [_byte(key, text) for key in (text or DEFAULT).split(",")]


def _byte(key: str, text: str) -> int:
    if len(key) == 1 and key.isascii():
        return ord(key)
    control = key.lower().removeprefix("ctrl-") if key.lower().startswith("ctrl-") else ""
    if len(control) == 1 and control.isascii():
        if control.isalpha():
            return ord(control) - ord("a") + 1
        if control in _SPECIAL:
            return _SPECIAL[control]
    raise InvalidParameter(f"Invalid escape keys ({text}) provided")
