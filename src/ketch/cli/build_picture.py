"""One picture of a build's progress on a terminal, as rows that fit in it.

The state of each step is in its colour and, for those that see none, in a word before its name; its
time is at the right. Where there is little room, output of running steps goes first, then what
ended longest ago: what runs now is seen as long as there is a row for it.
"""

from ketch.cli.build_steps import CANCELED, is_over, part_text

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.cli.build_steps import Part, Step, Steps

BLUE, RED, YELLOW, DIM, PLAIN = "\x1b[34m", "\x1b[31m", "\x1b[33m", "\x1b[2m", "\x1b[0m"
_TAIL = 6  # lines of output of a running step
_ENOUGH = 8192  # characters that hold them
_PARTS = 4  # lines about parts of a step


class Picture:
    """``colours`` is False where nobody wants them (no-color.org)."""

    def __init__(self, steps: "Steps", began: int, *, colours: bool) -> None:
        self._steps = steps
        self._began = began
        self._colours = colours

    def rows(self, now: int, height: int, width: int) -> "list[str]":
        """While the build runs, at most ``height`` rows of ``width`` columns; ``now`` in ns."""
        for tail in (*range(_TAIL, -1, -1), -1):
            blocks = [self._block(step, now, tail) for step in self._steps.shown]
            if sum(map(len, blocks)) < height:
                break
        running = [not step.ended for step in self._steps.shown]
        while blocks and sum(map(len, blocks)) >= height:
            place = running.index(False) if False in running else 0
            del blocks[place], running[place]
        return self._drawn(self._head(now, ""), blocks, width)

    def last(self, now: int, width: int) -> "list[str]":
        """All of it, when the build is over."""
        words = {bool(step.error) and step.error not in CANCELED for step in self._steps.shown}
        word = "FINISHED"
        if True in words:
            word = "ERROR"
        elif any(step.error for step in self._steps.shown):
            word = "CANCELED"
        blocks = [self._block(step, now, 0) for step in self._steps.shown]
        return self._drawn(self._head(now, f" {word}"), blocks, width)

    def _head(self, now: int, word: str) -> str:
        done, total = self._steps.total()
        return f"[+] Building {(now - self._began) / 1e9:.1f}s ({done}/{total}){word}"

    def _drawn(
        self, head: str, blocks: "list[list[tuple[str, str, str]]]", width: int
    ) -> "list[str]":
        lines = [line for block in blocks for line in block]
        return [cut(head, width), *(self._row(*line, width=width) for line in lines)]

    def _row(self, text: str, time: str, colour: str, *, width: int) -> str:
        """The time in the last columns but one, which a terminal would wrap after."""
        room = width - 1 - (len(time) + 2 if time else 0)
        text = cut(text, room)
        if time:
            text += " " * (room - columns(text)) + f"  {time}"
        return f"{colour}{text}{PLAIN}" if colour and self._colours else text

    def _block(self, step: "Step", now: int, tail: int) -> "list[tuple[str, str, str]]":
        """A step's lines, with so many of its output; -1 leaves its parts out too."""
        word, colour = _state(step)
        name = printable(step.name)
        found = [(f" => {word}{name}", f"{step.seconds(now):.1f}s", colour)]
        if tail >= 0:
            parts = [part for part in step.parts.values() if _is_shown(step, part)]
            for part in parts[-_PARTS:]:
                end = part.last["at"] if is_over(part.last) or step.ended else now
                time = f"{max(0, end - part.began) / 1e9:.1f}s"
                found.append((f" => => {printable(part_text(part.last))}", time, colour))
        if tail > 0 and not step.ended:
            found += [(f" => => # {line}", "", DIM) for line in _said(step)[-tail:]]
        return found


def _state(step: "Step") -> "tuple[str, str]":
    if step.error in CANCELED:
        return "CANCELED ", YELLOW
    if step.error:
        return "ERROR ", RED
    if step.cached:
        return "CACHED ", BLUE
    return "", BLUE if step.ended else ""


def _is_shown(step: "Step", part: "Part") -> bool:
    """Layers on their way, of which there are many, only while they are."""
    if step.cached:
        return False
    return not part.last["id"] or not (step.ended or is_over(part.last))


def _said(step: "Step") -> "list[str]":
    text = step.said(_ENOUGH)
    lines = [line.rstrip("\r").rsplit("\r", 1)[-1] for line in text.split("\n") if line.strip()]
    return [printable(line) for line in lines[-_TAIL:]]


def printable(line: str) -> str:
    """Without colours and whatever else would command the terminal."""
    plain = _without_sequences(line) if "\x1b" in line else line
    return "".join(c if c.isprintable() else " " for c in plain.expandtabs(8))


def _without_sequences(line: str) -> str:
    import re  # not for output that has none

    return re.sub(r"\x1b(\[[0-?]*[ -/]*[@-~]|\][^\x07\x1b]*(\x07|\x1b\\)?|[@-Z\\-_])", "", line)


def cut(text: str, room: int) -> str:
    """At most so many columns of it."""
    if text.isascii():
        return text[: max(room, 0)]
    shown = 0
    for place, character in enumerate(text):
        shown += _width(character)
        if shown > room:
            return text[:place]
    return text


def columns(text: str) -> int:
    """How many columns it takes: letters of East Asia two, marks on a letter none."""
    return len(text) if text.isascii() else sum(map(_width, text))


def _width(character: str) -> int:
    from unicodedata import combining, east_asian_width  # not for plain ASCII

    if combining(character):
        return 0
    return 2 if east_asian_width(character) in "WF" else 1
