"""Counts what goes to a client or comes from it, and says so now and then."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from ketch.build.progress.events import Report

_BETWEEN = 0.15  # seconds between two reports, as BuildKit has it


class Meter:
    """Bytes of one transfer; told as ``text`` of the report's vertex, if there is one."""

    def __init__(self, report: Report | None = None, text: str = "") -> None:
        self._report = report
        self._text = text
        self._bytes = 0
        self._next = time.monotonic() + _BETWEEN

    def add(self, count: int) -> None:
        """Some more arrived."""
        self._bytes += count
        if self._report is not None and (now := time.monotonic()) >= self._next:
            self._next = now + _BETWEEN
            self._report.status("", self._text, self._bytes)

    def end(self) -> None:
        """Nothing more comes."""
        if self._report is not None:
            self._report.status("", self._text, self._bytes, done=True)
