"""What the parsers of single instructions read from: the arguments, flags taken off."""

from __future__ import annotations

from collections.abc import Sequence

from ketch.build.dockerfile.ast import Command, Comment
from ketch.build.dockerfile.lexer import Heredoc, RawInstruction
from ketch.build.dockerfile.source import DockerfileError, did_you_mean
from ketch.build.dockerfile.words import (
    Flag,
    exec_form,
    skip_blank,
    split_blank,
    split_quoted,
    take_flags,
)


class Flags:
    """The flags of one instruction."""

    def __init__(self, cursor: Cursor, found: dict[str, list[Flag]]) -> None:
        self._cursor = cursor
        self._found = found

    def text(self, name: str) -> str:
        """A flag's value; empty when it is not there."""
        return (self._found[name][0].value or "") if name in self._found else ""

    def all(self, name: str) -> tuple[Flag, ...]:
        """A flag that may be repeated."""
        return tuple(self._found.get(name, ()))

    def switch(self, name: str) -> bool | None:
        """A flag that is on, off or (None) not there; raises for other values."""
        if name not in self._found:
            return None
        flag = self._found[name][0]
        value = {None: True, "true": True, "1": True, "false": False, "0": False}.get(flag.value)
        if value is None:
            reason = f"expecting boolean value for flag --{name}, not: {flag.value}"
            raise self._cursor.error(reason, flag.start, flag.end)
        return value

    def one_of(self, name: str, words: Sequence[str]) -> str:
        """A flag with one of some values, or empty."""
        value = self.text(name)
        if value and value not in words:
            flag = self._found[name][0]
            raise self._cursor.error(
                f"invalid value {value!r} for --{name}: it must be {' or '.join(words)}"
                f"{did_you_mean(value, words)}",
                flag.start,
                flag.end,
            )
        return value


class Cursor:
    """The arguments of one instruction; offsets are into its logical line."""

    def __init__(self, raw: RawInstruction, name: str, after: int, escape: str) -> None:
        self.raw = raw
        self.line = raw.line
        self.name = name
        self.escape = escape
        self.start = skip_blank(self.line.text, after)
        self.comment: Comment | None = None

    @property
    def heredocs(self) -> tuple[Heredoc, ...]:
        """The here-documents that follow the line."""
        return self.raw.heredocs

    @property
    def rest(self) -> str:
        """Everything after the name and the flags."""
        return self.line.text[self.start :].strip()

    def error(
        self, reason: str, start: int | None = None, end: int | None = None
    ) -> DockerfileError:
        """An error about a piece of the line, by default about the arguments."""
        return self.line.error(reason, self.start if start is None else start, end)

    def flags(self, known: Sequence[str]) -> Flags:
        """Take the flags off; raises for unknown, doubled and valueless ones.

        ``known`` holds names, with ``*`` behind those that may be repeated and ``?`` behind those
        that may stand without a value (then they are on).
        """
        flags, self.start = take_flags(self.line.text, self.start, self.escape)
        kinds = {name.rstrip("*?"): name for name in known}
        found: dict[str, list[Flag]] = {}
        for flag in flags:
            self._check(flag, kinds, found)
            found.setdefault(flag.name, []).append(flag)
        return Flags(self, found)

    def _check(self, flag: Flag, kinds: dict[str, str], found: dict[str, list[Flag]]) -> None:
        reason = ""
        kind = kinds.get(flag.name)
        if kind is None:
            reason = f"unknown flag: --{flag.name}{did_you_mean(flag.name, kinds)}"
        elif flag.name in found and not kind.endswith("*"):
            reason = f"duplicate flag specified: --{flag.name}"
        elif not flag.value and not (flag.value is None and kind.endswith("?")):
            reason = f"missing a value on flag: --{flag.name}"
        if reason:
            raise self.error(reason, flag.start, flag.end)

    def no_flags(self) -> None:
        """For instructions that have none."""
        self.flags(())

    def need(self, what: str = "at least one argument") -> None:
        """Raise when there are no arguments."""
        if not self.rest:
            raise self.error(f"{self.name} requires {what}", 0)

    def blank_words(self) -> list[tuple[int, str]]:
        """The arguments split at white space, with offsets."""
        return split_blank(self.line.text, self.start)

    def quoted_words(self) -> list[tuple[int, str]]:
        """The arguments split at white space outside quotes; quotes stay."""
        return split_quoted(self.line.text, self.escape, self.start)

    def json_words(self) -> tuple[str, ...] | None:
        """The exec form, if that is what is there; a ``#`` after it begins a comment."""
        form = exec_form(self.line.text, self.start)
        if form is None:
            return None
        words, end = form
        tail = self.line.text[end:].strip()
        if tail and not tail.startswith("#"):
            return None
        if words is None:
            raise self.error(
                "when using JSON array syntax, arrays must be comprised of strings only"
            )
        if any("\0" in word for word in words):
            raise self.error("a word holds a NUL character, which no program can be given")
        if tail:
            self.set_comment(skip_blank(self.line.text, end))
        return words

    def command(self) -> Command:
        """Exec form, or else one string for the shell."""
        words = self.json_words()
        if words is None:
            return Command((self.rest,), shell=True)
        return Command(words, shell=False)

    def set_comment(self, start: int) -> None:
        """The rest of the line from ``start`` on is a comment."""
        text = self.line.text[start:].strip()
        self.comment = Comment(text, self.line.range(start))
