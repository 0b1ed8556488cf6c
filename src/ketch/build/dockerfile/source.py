"""Text with places: positions, ranges, excerpts and the error of a Dockerfile."""

from __future__ import annotations

import difflib
import unicodedata
from bisect import bisect_right
from collections.abc import Iterable

import msgspec

from ketch.errors import InvalidParameter

_RULE = "-" * 20
_AROUND = 2  # lines before and after
_SHOWN_AROUND, _MOST_SHOWN = 6, 50  # lines that clients are given
_LONGEST = 2000  # characters of a line that they are given


class Position(msgspec.Struct, frozen=True, order=True):
    """A place in a file; both count from 1, columns in characters."""

    line: int
    column: int


class Range(msgspec.Struct, frozen=True):
    """From ``start`` up to, not including, ``end``."""

    start: Position
    end: Position


class Source(msgspec.Struct, frozen=True):
    """A file's name and its lines without their ends; ``returns`` are the carriage returns at the
    ends of those (counted from 0) that have some."""

    name: str
    lines: tuple[str, ...]
    returns: dict[int, str] = {}

    @classmethod
    def decode(cls, name: str, data: bytes) -> Source:
        """Decode UTF-8; a byte order mark is dropped, bad bytes become U+FFFD as in Go's JSON."""
        text = data.removeprefix(b"\xef\xbb\xbf").decode("utf-8", "replace")
        raw = text.split("\n")
        lines = [line.rstrip("\r") for line in raw]
        returns = {
            number: whole[len(line) :]
            for number, (whole, line) in enumerate(zip(raw, lines, strict=True))
            if len(whole) != len(line)
        }
        if raw[-1] == "":
            lines.pop()
        return cls(name, tuple(lines), returns)

    def whole(self, number: int) -> str:
        """A line (counted from 0) with its end, as the file has it."""
        return f"{self.lines[number]}{self.returns.get(number, '')}\n"


class DockerfileError(InvalidParameter):
    """A Dockerfile that can't be used; the message begins as Docker's does.

    ``line`` and ``column`` count from 1; ``reason`` is the sentence alone. ``source`` and ``where``
    are for clients that show the excerpt themselves.
    """

    def __init__(self, reason: str, source: Source, where: Range) -> None:
        self.reason = reason
        self.line = where.start.line
        self.column = where.start.column
        self.source = source
        self.where = where
        self.head = f"dockerfile parse error on line {self.line}: {reason}"
        super().__init__(f"{self.head}\n{excerpt(source, where, column=True)}")


class LogicalLine(msgspec.Struct, frozen=True):
    """One instruction's text, continuations joined, that knows where each character came from.

    ``marks`` holds (offset in ``text``, position) for the begin of each joined piece.
    """

    text: str
    marks: tuple[tuple[int, Position], ...]
    source: Source

    def position(self, offset: int) -> Position:
        """Where the character at ``offset`` stands in the file."""
        index = bisect_right(self.marks, offset, key=lambda mark: mark[0]) - 1
        start, place = self.marks[max(index, 0)]
        return Position(place.line, place.column + offset - start)

    def range(self, start: int = 0, end: int | None = None) -> Range:
        """The range of ``text[start:end]``."""
        stop = len(self.text) if end is None else end
        begin = self.position(start)
        if stop <= start:
            return Range(begin, begin)
        last = self.position(stop - 1)
        return Range(begin, Position(last.line, last.column + 1))

    def error(self, reason: str, start: int = 0, end: int | None = None) -> DockerfileError:
        """The error to raise for ``text[start:end]``."""
        return DockerfileError(reason, self.source, self.range(start, end))


class Excerpt(msgspec.Struct, frozen=True):
    """Some lines of a file, of which ``begin`` is the first one's number, and a place in them."""

    filename: str
    first: int
    last: int
    begin: int
    lines: tuple[str, ...]

    @property
    def text(self) -> str:
        """As if it were the whole file: numbers of lines are right."""
        return "\n" * (self.begin - 1) + "".join(f"{line}\n" for line in self.lines)


def excerpted(source: Source, where: Range) -> Excerpt:
    """What clients show of a place, with as many lines around it as they may want."""
    first, last = where.start.line, max(where.start.line, where.end.line)
    begin = max(1, first - _SHOWN_AROUND)
    end = min(last, first + _MOST_SHOWN) + _SHOWN_AROUND
    lines = tuple(line[:_LONGEST] for line in source.lines[begin - 1 : end])
    return Excerpt(source.name, first, last, begin, lines)


def did_you_mean(word: str, known: Iterable[str]) -> str:
    """`` (did you mean X?)`` for the nearest known word, or nothing."""
    near = difflib.get_close_matches(word, list(known), n=1, cutoff=0.6)
    return f" (did you mean {near[0]}?)" if near else ""


def excerpt(source: Source, where: Range, *, column: bool = False) -> str:
    """``Dockerfile:3`` and the lines around; with ``column`` a row of ``^`` under the piece."""
    first, last = where.start.line, max(where.start.line, where.end.line)
    name = f"{source.name}:{first}" + (f":{where.start.column}" if column else "")
    rows = [name, _RULE]
    for number in range(max(1, first - _AROUND), min(len(source.lines), last + _AROUND) + 1):
        mark = ">>>" if first <= number <= last else "   "
        rows.append(f"{number:>4} | {mark} {source.lines[number - 1]}")
        if column and number == first:
            rows.append(f"     |     {_marker(source, where)}")
    return "\n".join([*rows, _RULE])


def _marker(source: Source, where: Range) -> str:
    line = source.lines[where.start.line - 1]
    begin = where.start.column - 1
    end = where.end.column - 1 if where.end.line == where.start.line else len(line)
    lead = "".join("\t" if c == "\t" else " " * _width(c) for c in line[:begin])
    return lead + "^" * max(1, sum(_width(c) for c in line[begin:end]))


def _width(character: str) -> int:
    return 2 if unicodedata.east_asian_width(character) in "WF" else 1
