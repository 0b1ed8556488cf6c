"""Instants as RFC 3339 text with nanoseconds, in UTC, as Docker writes them (RFC3339Nano).

Trailing zeros of the fraction are left out. On the shim's import path.
"""

import time


def format_ns(instant: int) -> str:
    """``2006-01-02T15:04:05.999999999Z`` of nanoseconds since the epoch."""
    seconds, fraction = divmod(instant, 1_000_000_000)
    return _second(seconds) + _fraction(fraction)


def _second(seconds: int) -> str:
    return time.strftime("%Y-%m-%dT%H:%M:%S", time.gmtime(seconds))


def _fraction(fraction: int) -> str:
    return f".{fraction:09d}".rstrip("0") + "Z" if fraction else "Z"


class Clock:
    """``format_ns(now)``, computing the part before the fraction once a second."""

    __slots__ = ("_prefix", "_seconds", "instant")

    def __init__(self) -> None:
        self._seconds = -1
        self._prefix = ""
        self.instant = 0  # ns; when not 0, this is "now": output that was kept for a while

    def now_ns(self) -> int:
        """The present, in ns since the epoch."""
        return self.instant or time.time_ns()

    def now(self) -> str:
        """The present."""
        seconds, fraction = divmod(self.now_ns(), 1_000_000_000)
        if seconds != self._seconds:
            self._seconds, self._prefix = seconds, _second(seconds)
        return self._prefix + _fraction(fraction)
