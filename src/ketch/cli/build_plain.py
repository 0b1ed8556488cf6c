"""A build's progress as plain lines, as ``docker build --progress=plain`` writes them.

#5 [2/3] RUN make
#5 0.312 cc -o server server.c
#5 DONE 0.4s
"""

import time

from ketch.cli.build_steps import CANCELED, Steps, is_over, part_text
from ketch.cli.visible import coloured, visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any, TextIO

    from ketch.cli.build_steps import Step

    Event = dict[str, Any]

_LONGEST = 1 << 16  # characters of a line that does not end


class Plain:
    """Writes lines as events come; a blank line where another step takes over."""

    def __init__(self, out: "TextIO") -> None:
        self.steps = Steps()
        self._out = out
        self._terminal = out.isatty()
        self._last = 0
        self._unfinished: dict[int, str] = {}
        self._announced: set[tuple[int, str]] = set()

    def feed(self, event: "Event") -> None:
        """Show an event."""
        step = self.steps.feed(event)
        if step is None:
            return
        kind = event["type"]
        if kind == "began":
            self._line(step, visible(step.name), heading=True)
        elif kind == "log":
            self._log(step, event)
        elif kind == "status":
            self._status(step, event)
        elif kind == "ended":
            self._end(step)
        self._out.flush()

    def cancel(self) -> None:
        """Whoever builds has had enough."""
        running = [step for step in self.steps.shown if not step.ended]
        self.steps.cancel(time.time_ns())
        for step in running:
            self._end(step)

    def finish(self) -> None:
        """Nothing more comes: the warnings, and what failed."""
        for warning in self.steps.warnings:
            self._out.write(f"\n{visible(warning_text(warning))}\n")
        self._out.flush()

    def _line(self, step: "Step", *texts: str, heading: bool = False) -> None:
        """In one write: each costs a system call."""
        found = [f"#{step.number} {text}\n" for text in texts]
        if self._last and self._last != step.number:
            title = "" if heading else f"#{step.number} {visible(step.name)}\n"
            found.insert(0, f"\n{title}")
        self._last = step.number
        self._out.write("".join(found))

    def _said(self, step: "Step", seconds: float, lines: "list[str]") -> None:
        """What the step's program wrote, which a file or a pipe gets as it is."""
        shown = map(coloured, lines) if self._terminal else lines
        self._line(step, *(f"{seconds:.3f} {line}" for line in shown))

    def _log(self, step: "Step", event: "Event") -> None:
        text = self._unfinished.pop(step.number, "") + event["text"]
        *lines, rest = text.split("\n")
        if len(rest) > _LONGEST:
            lines, rest = [*lines, rest], ""
        if rest:
            self._unfinished[step.number] = rest
        if lines:
            since = (event["at"] - step.began) / 1e9
            self._said(step, since, [line.rstrip("\r") for line in lines])

    def _status(self, step: "Step", event: "Event") -> None:
        """A part once when it begins and once when it is there."""
        done = is_over(event)
        key = (step.number, f"{event['id']} {event['text']} {done}")
        if key not in self._announced and (done or event.get("current")):
            self._announced.add(key)
            words = visible(part_text(event))
            self._line(step, f"{words} done" if done else words)

    def _end(self, step: "Step") -> None:
        rest = self._unfinished.pop(step.number, "")
        if rest:
            self._said(step, step.seconds(), [rest])
        if step.error in CANCELED:
            self._line(step, "CANCELED")
        elif step.error:
            self._line(step, visible(f"ERROR: {step.error}"))
        elif step.cached:
            self._line(step, "CACHED")
        else:
            self._line(step, f"DONE {step.seconds():.1f}s")


def warning_text(event: "Event") -> str:
    """A warning in one or two lines."""
    rule, line = event.get("rule", ""), event.get("line", 0)
    place = f" (line {line})" if line else ""
    text = f"{rule}: {event['sentence']}{place}" if rule else event["sentence"]
    url = event.get("url", "")
    return f" - {text}" + (f"\n   More info: {url}" if url else "")
