"""A build's progress on a terminal: every step with its time, the output of those that run.

Drawn a few times a second over its own last picture; needs no more of a terminal than moving the
cursor up and erasing lines. What a step said stays on the screen only if it failed.
"""

import os
import time

from ketch.cli import terminal
from ketch.cli.build_picture import PLAIN, YELLOW, Picture
from ketch.cli.build_plain import warning_text
from ketch.cli.build_steps import CANCELED, Steps
from ketch.cli.visible import coloured, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    Event = dict[str, Any]

_PAUSE = 0.1  # seconds between two pictures
_HIDDEN, _SHOWN = "\x1b[?25l", "\x1b[?25h"  # the cursor, which else runs about while it is drawn


class Live:
    """Draws the state of a build on ``out``."""

    def __init__(self, out: "TextIO") -> None:
        self.steps = Steps()
        self._out = out
        self._drawn = 0  # lines of the last picture
        self._drawing = False
        self._next = 0.0
        self._colours = not os.environ.get("NO_COLOR")
        self._picture = Picture(self.steps, time.time_ns(), colours=self._colours)

    def feed(self, event: "Event") -> None:
        """Take an event in; draw if it is time."""
        self.steps.feed(event)
        if time.monotonic() >= self._next:
            self.draw()

    def draw(self, final: bool = False) -> None:
        """Draw a picture over the last one; nothing while one is drawn: a timer calls this too."""
        if self._drawing:
            return
        self._drawing = True
        try:
            self._draw(final)
        finally:
            self._drawing = False

    def _draw(self, final: bool) -> None:
        self._next = time.monotonic() + _PAUSE
        height, width = terminal.size()
        now, width = time.time_ns(), width or 80
        if final:
            rows = self._picture.last(now, width)
        else:
            rows = self._picture.rows(now, max(3, (height or 24) - 1), width)
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"{row}\x1b[K\n" for row in rows)
        self._out.write(f"{_HIDDEN}{up}\r{text}\x1b[J{_SHOWN}")
        self._out.flush()
        self._drawn = len(rows)

    def cancel(self) -> None:
        """Whoever builds has had enough: what runs is shown as canceled."""
        self.steps.cancel(time.time_ns())

    def finish(self) -> None:
        """The last picture, then what failed and what was warned of, in full."""
        self.draw(final=True)
        for step in self.steps.shown:
            if step.error and step.logs and step.error not in CANCELED:
                said = coloured("".join(step.logs).rstrip())
                reset = PLAIN if "\x1b" in said else ""
                self._out.write(f"------\n > {visible(step.name)}:\n{said}{reset}\n------\n")
        for warning in self.steps.warnings:
            text = visible(warning_text(warning))
            self._out.write(f"{YELLOW}{text}{PLAIN}\n" if self._colours else f"{text}\n")
        self._out.flush()
