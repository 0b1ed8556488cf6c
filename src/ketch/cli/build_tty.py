"""A build's progress on a terminal: every step with its time, the output of those that run.

Drawn a few times a second over its own last picture; needs no more of a terminal than moving the
cursor up and erasing lines. What a step said stays on the screen only if it failed.
"""

import os
import time

from ketch.cli import terminal
from ketch.cli.build_plain import warning_text
from ketch.cli.build_steps import Steps

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from ketch.cli.build_steps import Step

    Event = dict[str, Any]

_PAUSE = 0.1  # seconds between two pictures
_TAIL = 6  # lines of output of a running step
_BLUE, _RED, _GREY, _YELLOW, _PLAIN = "\x1b[34m", "\x1b[31m", "\x1b[90m", "\x1b[33m", "\x1b[0m"


class Live:
    """Draws the state of a build on ``out``."""

    def __init__(self, out: "TextIO") -> None:
        self.steps = Steps()
        self._out = out
        self._drawn = 0  # lines of the last picture
        self._drawing = False
        self._next = 0.0
        self._began = time.time_ns()
        self._colours = not os.environ.get("NO_COLOR")

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
        lines = self._picture(final)
        room = len(lines) if final else max(3, (height or 24) - 2)
        if len(lines) > room:  # the beginning goes out of sight first
            lines = [lines[0], *lines[-(room - 1) :]]
        up = f"\x1b[{self._drawn}A" if self._drawn else ""
        text = "".join(f"{_cut(line, width or 80)}\x1b[K\n" for line in lines)
        self._out.write(f"{up}\r{text}\x1b[J")
        self._out.flush()
        self._drawn = len(lines)

    def finish(self) -> None:
        """The last picture, then what failed and what was warned of, in full."""
        self.draw(final=True)
        for step in self.steps.shown:
            if step.error and step.logs:
                self._out.write(f"------\n > {step.name}:\n{''.join(step.logs).rstrip()}\n------\n")
        for warning in self.steps.warnings:
            self._out.write(self._in(_YELLOW, warning_text(warning)) + "\n")
        self._out.flush()

    def _picture(self, final: bool) -> "list[str]":
        now = time.time_ns()
        done, total = self.steps.total()
        failed = any(step.error for step in self.steps.shown)
        state = "" if not final else (" ERROR" if failed else " FINISHED")
        lines = [f"[+] Building {(now - self._began) / 1e9:.1f}s ({done}/{total}){state}"]
        for step in self.steps.shown:
            lines.append(self._step(step, now))
            if not step.ended and not final:
                lines += [self._in(_GREY, f" => => # {line}") for line in _tail(step)]
                lines += [self._in(_GREY, f" => => {line}") for line in _parts(step)]
        return lines

    def _step(self, step: "Step", now: int) -> str:
        seconds = f"{step.seconds(now):.1f}s"
        name = _printable(step.name)
        if step.error:
            word = "CANCELED" if step.error in ("canceled", "context canceled") else "ERROR"
            return self._in(_RED, f" => {word} {name}  {seconds}")
        if step.cached:
            return self._in(_BLUE, f" => CACHED {name}  0.0s")
        line = f" => {name}  {seconds}"
        return self._in(_BLUE, line) if step.ended else line

    def _in(self, colour: str, text: str) -> str:
        return f"{colour}{text}{_PLAIN}" if self._colours else text


def _tail(step: "Step") -> "list[str]":
    text = "".join(step.logs[-200:])
    lines = [line.rsplit("\r", 1)[-1] for line in text.split("\n") if line.strip()]
    return [_printable(line) for line in lines[-_TAIL:]]


def _printable(line: str) -> str:
    return "".join(c if c.isprintable() else " " for c in line.expandtabs(8))


def _parts(step: "Step") -> "list[str]":
    found = []
    for part in step.parts.values():
        total, current = part.get("total") or 0, part.get("current") or 0
        if total and current < total:
            words = _printable(f"{part['text']} {part['id']}")
            found.append(f"{words} {current * 100 // total}%")
    return found[-4:]


def _cut(line: str, columns: int) -> str:
    """At most one row of the terminal; colours take no room, letters of East Asia two columns."""
    shown, out, inside = 0, [], False
    for character in line:
        if character == "\x1b":
            inside = True
        if not inside:
            shown += 1 if character.isascii() else _width(character)
            if shown > columns - 1:
                out.append(_PLAIN)
                break
        elif character == "m":
            inside = False
        out.append(character)
    return "".join(out)


def _width(character: str) -> int:
    from unicodedata import east_asian_width  # not for plain ASCII

    return 2 if east_asian_width(character) in "WF" else 1
