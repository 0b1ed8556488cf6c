"""What the parsers of single instructions read from: the arguments, flags taken off."""

from __future__ import annotations

from ketch.build.ast import Command, Comment
from ketch.build.lexer import Heredoc, RawInstruction
from ketch.build.source import DockerfileError, did_you_mean
from ketch.build.words import Flag, exec_form, skip_blank, split_blank, split_quoted, take_flags


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

    def flags(self, known: tuple[str, ...], unsupported: tuple[str, ...] = ()) -> dict[str, Flag]:
        """Take the flags off; raises for unknown, unsupported, doubled and valueless ones."""
        flags, self.start = take_flags(self.line.text, self.start, self.escape)
        found: dict[str, Flag] = {}
        for flag in flags:
            self._check(flag, known, unsupported, found)
            found[flag.name] = flag
        return found

    def _check(
        self,
        flag: Flag,
        known: tuple[str, ...],
        unsupported: tuple[str, ...],
        found: dict[str, Flag],
    ) -> None:
        reason = ""
        if flag.name in unsupported:
            reason = f"the flag --{flag.name} of {self.name} is not supported by this builder"
        elif flag.name not in known:
            reason = f"unknown flag: --{flag.name}{did_you_mean(flag.name, known)}"
        elif flag.name in found:
            reason = f"duplicate flag specified: --{flag.name}"
        elif not flag.value:
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
