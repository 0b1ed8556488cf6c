"""Characters to tokens.

Outside of ``{{`` and ``}}`` everything is text; ``{{- `` and `` -}}`` take the space on their side
away. What is malformed becomes an ``error`` token, so that the parser reports the first fault in
the order of the text.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

SPACE = " \t\r\n"
KEYWORDS = frozenset(
    ("block", "break", "continue", "define", "else", "end", "if", "range", "template", "with")
)
OPERATORS = {"|": "pipe", "(": "lparen", ")": "rparen", "=": "assign"}
TERMINATORS = SPACE + ".,|:)("


class Token:
    """``kind``, the characters, and where they begin."""

    __slots__ = ("kind", "position", "text")

    def __init__(self, kind: str, text: str, position: int) -> None:
        self.kind = kind
        self.text = text
        self.position = position

    def __str__(self) -> str:
        """As error messages show it."""
        if self.kind == "eof":
            return "EOF"
        if self.kind == "error":
            return self.text
        if self.kind in ("keyword", "dot", "nil"):
            return f"<{self.text}>"
        from ketch.cli.gotemplate.quoting import quoted

        return quoted(self.text[:10]) + "..." if len(self.text) > 10 else quoted(self.text)


class Malformed(Exception):
    """The rest of the text cannot be cut into tokens."""


def tokens(text: str) -> "Iterator[Token]":
    """All tokens; the last is ``eof`` or ``error``."""
    return Lexer(text).run()


class Lexer:
    """One pass over one text."""

    def __init__(self, text: str) -> None:
        self.text = text
        self.position = 0

    def run(self) -> "Iterator[Token]":
        """Texts and actions in turn."""
        try:
            while self.position < len(self.text):
                yield from self._text()
                if self.position < len(self.text):
                    yield from self._delimited()
        except Malformed as error:
            yield Token("error", str(error), self.position)
            return
        yield Token("eof", "", self.position)

    def _text(self) -> "Iterator[Token]":
        start = self.position
        end = self.text.find("{{", start)
        end = len(self.text) if end < 0 else end
        self.position = end
        content = self.text[start:end]
        if self._trims_before(end):
            content = content.rstrip(SPACE)
        if content:
            yield Token("text", content, start)

    def _trims_before(self, opening: int) -> bool:
        mark = self.text[opening + 2 : opening + 4]
        return len(mark) == 2 and mark[0] == "-" and mark[1] in SPACE

    def _delimited(self) -> "Iterator[Token]":
        opening = self.position
        self.position += 3 if self._trims_before(opening) else 2
        inside = self.position + (1 if self._trims_before(opening) else 0)
        if self.text.startswith("/*", inside):
            self._comment(inside)
            return
        yield Token("open", "{{", opening)
        yield from self._action()
        yield Token("close", "}}", self.position)
        self._close()

    def _comment(self, start: int) -> None:
        end = self.text.find("*/", start)
        if end < 0:
            raise Malformed("unclosed comment")
        self.position = end + 2
        if not self._at_close():
            raise Malformed("comment ends before closing delimiter")
        self._close()

    def _at_close(self) -> bool:
        here = self.position
        trims = self.text[here : here + 1] in SPACE and self.text.startswith("-}}", here + 1)
        return self.text.startswith("}}", here) or (trims and here < len(self.text))

    def _close(self) -> None:
        """Step over ``}}`` or `` -}}`` and the space that the latter takes away."""
        if self.text.startswith("}}", self.position):
            self.position += 2
            return
        self.position += 4
        while self.text[self.position : self.position + 1] in SPACE and self.position < len(
            self.text
        ):
            self.position += 1

    def _action(self) -> "Iterator[Token]":
        depth = 0
        while not self._at_close():
            if self.position >= len(self.text):
                raise Malformed("unclosed action")
            token = self._token()
            depth += (token.kind == "lparen") - (token.kind == "rparen")
            if depth < 0:
                raise Malformed("unexpected right paren")
            yield token
        if depth:
            raise Malformed("unclosed left paren")

    def _token(self) -> Token:
        start, first = self.position, self.text[self.position]
        if first in SPACE:
            return self._space()
        if first in "\"`'":
            return self._quoted(first)
        if first == ":":
            if not self.text.startswith(":=", start):
                raise Malformed("expected :=")
            return self._take("declare", start + 2)
        if first in OPERATORS:
            return self._take(OPERATORS[first], start + 1)
        following = self.text[start + 1 : start + 2]
        if first == "." and following and not following.isdigit():
            return self._field()
        if first == "$":
            return self._word("variable", 1)
        if first.isdigit() or first in "+-." or (first in "+-" and following.isdigit()):
            return self._number()
        if first.isalpha() or first == "_":
            return self._word("identifier", 0)
        if first.isascii() and first.isprintable():
            return self._take("char", start + 1)
        raise Malformed(f"unrecognized character in action: {character(first)}")

    def _take(self, kind: str, end: int) -> Token:
        token = Token(kind, self.text[self.position : end], self.position)
        self.position = end
        return token

    def _space(self) -> Token:
        end = self.position
        while end < len(self.text) and self.text[end] in SPACE:
            if self.text.startswith("-}}", end + 1):
                break
            end += 1
        return self._take("space", max(end, self.position + 1))

    def _quoted(self, mark: str) -> Token:
        end = self.position + 1
        while end < len(self.text) and self.text[end] != mark:
            if self.text[end] == "\n" and mark != "`":
                break
            end += 2 if self.text[end] == "\\" and mark != "`" else 1
        if self.text[end : end + 1] != mark:
            raise Malformed(
                {
                    '"': "unterminated quoted string",
                    "`": "unterminated raw quoted string",
                    "'": "unterminated character constant",
                }[mark]
            )
        kind = {'"': "string", "`": "raw", "'": "char constant"}[mark]
        return self._take(kind, end + 1)

    def _name_end(self, start: int) -> int:
        end = start
        while end < len(self.text) and (self.text[end].isalnum() or self.text[end] == "_"):
            end += 1
        return end

    def _field(self) -> Token:
        end = self._name_end(self.position + 1)
        self._check_terminated(end)
        return self._take("dot" if end == self.position + 1 else "field", end)

    def _word(self, kind: str, marks: int) -> Token:
        end = self._name_end(self.position + marks)
        word = self.text[self.position : end]
        self._check_terminated(end)
        if word in KEYWORDS:
            kind = "keyword"
        elif word in ("true", "false"):
            kind = "bool"
        elif word == "nil":
            kind = "nil"
        return self._take(kind, end)

    def _check_terminated(self, end: int) -> None:
        if end >= len(self.text) or self.text[end] in TERMINATORS:
            return
        if self.text.startswith("}}", end) or self.text[end] == "}":
            return
        raise Malformed(f"bad character {character(self.text[end])}")

    def _number(self) -> Token:
        end = self.position + (self.text[self.position] in "+-")
        while end < len(self.text):
            here = self.text[end]
            exponent = here in "+-" and self.text[end - 1] in "eEpP"
            if not (here.isalnum() or here in "._" or exponent):
                break
            end += 1
        token = self._take("number", end)
        if token.text in ("+", "-"):
            raise Malformed(f'bad number syntax: "{token.text}"')
        return token


def character(char: str) -> str:
    """``U+0023 '#'``, as Go's ``%#U``."""
    shown = f" '{char}'" if char.isprintable() else ""
    return f"U+{ord(char):04X}{shown}"
