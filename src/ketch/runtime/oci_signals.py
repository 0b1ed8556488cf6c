"""Signal names and numbers as ``kill`` takes them (signal(7))."""

import _signal  # type: ignore[import-not-found]

from ketch.errors import InvalidParameter

_LAST = 64


def number_of(word: str) -> int:
    """``TERM``, ``SIGTERM``, ``RTMIN+3`` or ``15`` as a number; raises ``InvalidParameter``."""
    if word.isascii() and word.isdigit() and 0 <= int(word) <= _LAST:
        return int(word)
    name = word.upper().removeprefix("SIG")
    base, sign, offset = name.partition("+") if "+" in name else name.partition("-")
    number = getattr(_signal, f"SIG{base}", None)
    if isinstance(number, int) and base.isalnum():
        if not sign:
            return number
        if base in ("RTMIN", "RTMAX") and offset.isascii() and offset.isdigit():
            number += int(offset) if sign == "+" else -int(offset)
            if 34 <= number <= _LAST:
                return number
    raise InvalidParameter(f"unknown signal {word!r}")
