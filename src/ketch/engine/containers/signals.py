"""Signals by name or number, as Docker's clients write them."""

from __future__ import annotations

import re
import signal

from ketch.errors import InvalidParameter

_REALTIME = re.compile(r"RT(MIN|MAX)(?:([+-])(\d{1,2}))?\Z")


def parse(text: str) -> int:
    """``USR1``, ``SIGUSR1``, ``sigusr1``, ``10``, ``RTMIN+3`` → number (1 to 64).

    Raises ``InvalidParameter``.
    """
    name = text.upper().removeprefix("SIG")
    if name.isdecimal():
        number = int(name)
    elif match := _REALTIME.match(name):
        number = _realtime(match)
    else:
        known = signal.Signals.__members__.get(f"SIG{name}")
        number = int(known) if known is not None else 0
    if not 1 <= number <= 64:
        raise InvalidParameter(f"invalid signal: {text}")
    return number


def _realtime(match: re.Match[str]) -> int:
    base = signal.SIGRTMIN if match[1] == "MIN" else signal.SIGRTMAX
    offset = int(match[3] or 0)
    number = base + (-offset if match[2] == "-" else offset)
    return number if signal.SIGRTMIN <= number <= signal.SIGRTMAX else 0
