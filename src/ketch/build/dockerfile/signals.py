"""Signals by name or number, as STOPSIGNAL takes them (signal(7))."""

from __future__ import annotations

import re
import signal

_REALTIME = re.compile(r"RTM(?:IN(?:\+([0-9]{1,2}))?|AX(?:-([0-9]{1,2}))?)")


def check_signal(text: str) -> int:
    """The signal's number; raises ValueError with a sentence."""
    if text.isascii() and text.isdigit() and len(text) < 4:
        number = int(text)
    else:
        number = _named(text.upper().removeprefix("SIG"))
    if not 0 < number <= 64:
        raise ValueError(f"invalid signal: {text}: write a name such as SIGTERM or a number to 64")
    return number


def _named(name: str) -> int:
    match = _REALTIME.fullmatch(name)
    if match is not None:
        low, high = signal.SIGRTMIN, signal.SIGRTMAX
        number = high - int(match[2] or 0) if name.startswith("RTMAX") else low + int(match[1] or 0)
        return number if low <= number <= high else 0
    found = getattr(signal, "SIG" + name, 0)
    return int(found) if isinstance(found, signal.Signals) else 0
