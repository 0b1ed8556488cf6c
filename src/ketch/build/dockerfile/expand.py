"""Variable expansion and quoting in an instruction's words.

The forms of the Dockerfile reference ("Environment replacement"): ``$v``, ``${v}``, ``${v:-x}``,
``${v-x}``, ``${v:+x}``, ``${v+x}``, ``${v:?x}``, ``${v?x}``, ``${v#p}``, ``${v##p}``, ``${v%p}``,
``${v%%p}``, ``${v/a/b}``, ``${v//a/b}``. Words after an operator are expanded too. An unset
variable is empty. Single quotes keep everything, double quotes keep blanks; the escape character
takes the next character as it is (in double quotes only before ``"``, ``$`` and itself). As in
BuildKit, only ``/`` ends the pattern of ``${v/a/b}``, and escapes stay in what is put in its place.
"""

from __future__ import annotations

import re
from collections.abc import Mapping

_SPECIAL = "@*#?-$!0"
_MAX_OUTPUT = 1 << 20
_MAX_DEPTH = 64
_MAX_COST = 50_000_000


class ExpansionError(ValueError):
    """A word that can't be expanded; ``offset`` is where in the word."""

    def __init__(self, message: str, offset: int) -> None:
        super().__init__(message)
        self.offset = offset


def expand(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """``text`` as one word: variables replaced, quotes removed; raises ``ExpansionError``."""
    return _Expander(text, variables, escape).word()


def expand_words(text: str, variables: Mapping[str, str], escape: str = "\\") -> list[str]:
    """``text`` as words: blanks outside quotes separate, also those that a variable brings in."""
    expander = _Expander(text, variables, escape)
    expander.word()
    return expander.split()


def expand_text(text: str, variables: Mapping[str, str], escape: str = "\\") -> str:
    """Like ``expand`` for a here-document: quotes are ordinary characters."""
    return _Expander(text, variables, escape, quotes=False).word()


class _Expander:
    """One pass over one text; ``pieces`` know which of them came quoted."""

    def __init__(
        self, text: str, variables: Mapping[str, str], escape: str, quotes: bool = True
    ) -> None:
        self.text = text
        self.variables = variables
        self.escape = escape
        self.quotes = quotes
        self.position = 0
        self.depth = 0
        self.keeps_escapes = False
        self.size = 0
        self.pieces: list[tuple[str, bool]] = []

    def word(self) -> str:
        """The whole text as one word."""
        self.pieces = self._run("")
        return "".join(piece for piece, _ in self.pieces)

    def split(self) -> list[str]:
        """The pieces of ``word`` as words: only blanks that came unquoted separate."""
        words: list[str] = []
        open_word = False
        for piece, quoted in self.pieces:
            if quoted:
                words = words if open_word else [*words, ""]
                words[-1] += piece
                open_word = True
                continue
            for character in piece:
                if character.isspace():
                    open_word = False
                    continue
                if not open_word:
                    words.append("")
                words[-1] += character
                open_word = True
        return words

    def _run(self, stop: str) -> list[tuple[str, bool]]:
        """Pieces up to an unquoted character of ``stop`` (left in place) or the end."""
        out: list[tuple[str, bool]] = []
        while self.position < len(self.text) and not (stop and self._at() in stop):
            out.append(self._piece())
            self.size += len(out[-1][0])
            if self.size > _MAX_OUTPUT:
                raise self._error("the expanded text is larger than 1 MiB")
        if stop and self.position >= len(self.text):
            raise self._error(f"missing '{stop[-1]}' in substitution")
        return out

    def _piece(self) -> tuple[str, bool]:
        character = self.text[self.position]
        if character == "'" and self.quotes:
            return self._single(), True
        if character == '"' and self.quotes:
            return self._double(), True
        if character == "$":
            return self._variable(), False
        self.position += 1
        if character == self.escape:
            return self._escaped()
        return character, False

    def _escaped(self) -> tuple[str, bool]:
        if self.position >= len(self.text):
            return self.escape if not self.quotes else "", True
        following = self.text[self.position]
        self.position += 1
        return self.escape + following if self.keeps_escapes else following, True

    def _single(self) -> str:
        end = self.text.find("'", self.position + 1)
        if end < 0:
            raise self._error("unexpected end of statement while looking for matching single-quote")
        value = self.text[self.position + 1 : end]
        self.position = end + 1
        return value

    def _double(self) -> str:
        self.position += 1
        out: list[str] = []
        while self.position < len(self.text):
            character = self.text[self.position]
            if character == '"':
                self.position += 1
                return "".join(out)
            if character == "$":
                out.append(self._variable())
                continue
            self.position += 1
            if character == self.escape and self.position < len(self.text):
                following = self.text[self.position]
                self.position += 1
                taken = following in ('"', "$", self.escape) and not self.keeps_escapes
                character = following if taken else character + following
            out.append(character)
        raise self._error("unexpected end of statement while looking for matching double-quote")

    def _variable(self) -> str:
        self.position += 1
        if self.position >= len(self.text):
            return "$"
        if self.text[self.position] != "{":
            name = self._name()
            return self.variables.get(name, "") if name else "$"
        self.depth += 1
        if self.depth > _MAX_DEPTH:
            raise self._error("substitutions are nested too deep")
        start, self.position = self.position, self.position + 1
        name = self._name()
        if not name:
            raise self._error("bad substitution", start)
        keeps, self.keeps_escapes = self.keeps_escapes, False
        value = self._modified(name)
        self.keeps_escapes = keeps
        self.depth -= 1
        return value

    def _name(self) -> str:
        start = self.position
        first = self.text[start : start + 1]
        if first.isalpha() or first == "_":
            while self._at().isalpha() or self._at().isdecimal() or self._at() == "_":
                self.position += 1
        elif first.isdecimal():
            while self._at().isdecimal():
                self.position += 1
        elif first and first in _SPECIAL:
            self.position += 1
        return self.text[start : self.position]

    def _at(self) -> str:
        return self.text[self.position : self.position + 1]

    def _modified(self, name: str) -> str:
        """What follows the name in ``${…``, up to and with the closing brace."""
        operator = self._operator()
        if operator == "}":
            return self.variables.get(name, "")
        if operator[0] in "/#%":
            return self._changed(self.variables.get(name, ""), operator)
        value = self.variables.get(name)
        word = self._operand("}")
        self.position += 1
        missing = value is None or (operator[0] == ":" and value == "")
        if operator[-1] == "+":
            return "" if missing else word
        if missing and operator[-1] == "?":
            raise self._error(f"{name}: {word or 'not allowed to be unset or empty'}")
        return word if missing else value or ""

    def _changed(self, value: str, operator: str) -> str:
        """The value without what a pattern matches, or with something in its place."""
        if operator[0] == "/":
            return self._replaced(value, everywhere=operator == "//")
        pattern = self._pattern("}")
        self.position += 1
        return self._trimmed(value, operator, pattern)

    def _operator(self) -> str:
        for operator in (":-", ":+", ":?", "##", "%%", "//", "-", "+", "?", "#", "%", "/", "}"):
            if self.text.startswith(operator, self.position):
                self.position += len(operator)
                return operator
        if self.position >= len(self.text):
            raise self._error("missing '}' in substitution")
        raise self._error(f"unsupported modifier ({self._at()}) in substitution")

    def _operand(self, stop: str) -> str:
        return "".join(piece for piece, _ in self._run(stop))

    def _pattern(self, stop: str) -> str:
        """An operand in which quoted and escaped characters lose their meaning as a pattern."""
        pieces = self._run(stop)
        return "".join(re.sub(r"([*?\\])", r"\\\1", p) if quoted else p for p, quoted in pieces)

    def _replaced(self, value: str, *, everywhere: bool) -> str:
        pattern = self._pattern("/")
        self.position += 1
        keeps, self.keeps_escapes = self.keeps_escapes, True
        word = self._operand("}")
        self.keeps_escapes = keeps
        self.position += 1
        compiled = self._compile(pattern, value)
        return compiled.sub(lambda _: word, value, count=0 if everywhere else 1)

    def _trimmed(self, value: str, operator: str, pattern: str) -> str:
        matches = self._compile(pattern, value).fullmatch
        sizes = range(len(value), -1, -1) if len(operator) == 2 else range(len(value) + 1)
        for size in sizes:
            rest = len(value) - size
            if operator[0] == "#" and matches(value[:size]):
                return value[size:]
            if operator[0] == "%" and matches(value[rest:]):
                return value[:rest]
        return value

    def _compile(self, pattern: str, value: str) -> re.Pattern[str]:
        """A shell pattern (``*``, ``?``, backslash) as an expression.

        Matching takes up to len(value) to the power of the stars plus one, so that is bounded.
        """
        pattern = re.sub(r"(?<!\\)\*+", "*", pattern)
        if len(value) ** (pattern.count("*") + 1) > _MAX_COST:
            raise self._error("the pattern has too many * for so long a value")
        parts = re.findall(r"\\.|\\|[^\\]", pattern, re.DOTALL)
        wild = {"*": ".*", "?": "."}
        return re.compile("".join(wild.get(p) or re.escape(p[-1]) for p in parts), re.DOTALL)

    def _error(self, message: str, offset: int | None = None) -> ExpansionError:
        return ExpansionError(message, self.position if offset is None else offset)
