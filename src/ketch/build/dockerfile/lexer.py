"""Lexer: a Dockerfile's bytes to parser directives and logical lines.

Rules as documented in the Dockerfile reference ("Format", "Parser directives", "Here-documents"):
comment lines and blank lines vanish, also between continued lines; the escape character at the end
of a line joins it with the next; a here-document's lines belong to the instruction before them.
"""

from __future__ import annotations

import re
from itertools import pairwise

import msgspec

from ketch.build.dockerfile.source import DockerfileError, LogicalLine, Position, Range, Source
from ketch.build.dockerfile.words import split_quoted

DIRECTIVES = ("syntax", "escape", "check")
HEREDOC_INSTRUCTIONS = ("RUN", "COPY", "ADD")
_DIRECTIVE = re.compile(r"^#\s*([a-zA-Z][a-zA-Z0-9]*)\s*=\s*(.+?)\s*$")
_HEREDOC = re.compile(r"^(\d*)<<(-?)([^<]+)$")
_APART = re.compile(r"^\d*<<$")  # the name is the next word
_PLAIN_NAME = re.compile(r"""["']?[A-Za-z_]\w*["']?""")
_NAME_PIECE = re.compile(
    r"""\\(?P<escaped>.)|"(?P<double>(?:\\.|[^"\\])*)"|'(?P<single>[^']*)'"""
    r"""|(?P<plain>\$\{\w+\}|\$(?!\{)|[^\\"'$])"""
)
_ESCAPED = re.compile(r'\\(["$\\])')
_MODIFIED = re.compile(r"\$\{(?!\w+\})")
_TABS = re.compile(r"^\t+", re.MULTILINE)
_MAX_SIZE = 4 * 1024 * 1024


class Heredoc(msgspec.Struct, frozen=True):
    """One here-document: ``content`` ends with a newline unless empty. Of a file with CRLF it keeps
    the carriage returns, as in BuildKit.

    ``expand`` is false when the name was quoted; ``chomp`` is true for ``<<-``, whose content
    loses its leading tabs.
    """

    name: str
    content: str
    expand: bool
    chomp: bool
    word: str

    @property
    def text(self) -> str:
        """The content, leading tabs removed when asked."""
        if not self.chomp:
            return self.content
        return _TABS.sub("", self.content)


class RawInstruction(msgspec.Struct, frozen=True):
    """A logical line with its here-documents; ``end`` is its last physical line."""

    line: LogicalLine
    heredocs: tuple[Heredoc, ...]
    end: int


class Tokens(msgspec.Struct, frozen=True):
    """What the lexer found."""

    source: Source
    directives: dict[str, str]
    instructions: tuple[RawInstruction, ...]

    @property
    def escape(self) -> str:
        """The escape character: a backslash, or the backtick when the directive says so."""
        return self.directives.get("escape", "\\")


def lex(data: bytes, name: str = "Dockerfile") -> Tokens:
    """Split; raises ``DockerfileError`` for bad directives and unterminated here-documents."""
    source = Source.decode(name, data)
    start = Range(Position(1, 1), Position(1, 2))
    if len(data) > _MAX_SIZE:
        raise DockerfileError("the Dockerfile is larger than 4 MiB", source, start)
    directives = _directives(source)
    return _Lexer(source, directives).run()


def _directives(source: Source) -> dict[str, str]:
    found: dict[str, str] = {}
    for number, text in enumerate(source.lines, 1):
        match = _DIRECTIVE.match(text.strip())
        if match is None or match[1].lower() not in DIRECTIVES:
            break
        key, value = match[1].lower(), match[2]
        where = Range(Position(number, 1), Position(number, len(text) + 1))
        if key in found:
            raise DockerfileError(f"only one {key} parser directive can be used", source, where)
        if key == "escape" and value not in ("\\", "`"):
            raise DockerfileError(
                f"invalid escape character {value!r}: it must be \\ or `", source, where
            )
        found[key] = value
    return found


class _Lexer:
    """A cursor over the physical lines."""

    def __init__(self, source: Source, directives: dict[str, str]) -> None:
        self.source = source
        self.directives = directives
        self.escape = directives.get("escape", "\\")
        mark = re.escape(self.escape)
        self.continued = re.compile(rf"(?:^|(?<!{mark})){mark}[ \t]*$")
        self.next = 0

    def run(self) -> Tokens:
        found: list[RawInstruction] = []
        while self.next < len(self.source.lines):
            line = self._logical()
            if line is not None:
                heredocs = self._heredocs(line)
                found.append(RawInstruction(line, heredocs, self.next))
        return Tokens(self.source, self.directives, tuple(found))

    def _logical(self) -> LogicalLine | None:
        """The next logical line; None for a blank or comment line."""
        text, more = self._piece()
        if _invisible(text) and not more:
            return None
        lead = len(text) - len(text.lstrip())
        pieces = [text.lstrip()]
        marks = [(0, Position(self.next, lead + 1))]
        offset = len(pieces[0])
        while more and self.next < len(self.source.lines):
            text, continues = self._piece()
            if _invisible(text) and not (continues and text.strip() == ""):
                continue
            more = continues
            marks.append((offset, Position(self.next, 1)))
            pieces.append(text)
            offset += len(text)
        joined = "".join(pieces).rstrip()
        line = LogicalLine(joined, tuple(marks), self.source)
        if "\0" in joined:
            at = joined.index("\0")
            raise line.error("a NUL character: is the file text in UTF-8?", at, at + 1)
        return line if joined else None

    def _piece(self) -> tuple[str, bool]:
        """One physical line without its continuation mark, and whether it had one."""
        text = self.source.lines[self.next]
        self.next += 1
        if text.lstrip().startswith("#"):
            return text, False
        match = self.continued.search(text)
        return (text, False) if match is None else (text[: match.start()], True)

    def _heredocs(self, line: LogicalLine) -> tuple[Heredoc, ...]:
        if "<<" not in line.text or not _takes_heredoc(line.text):
            return ()
        found = []
        words = split_quoted(line.text, self.escape)
        for (start, word), (after, following) in pairwise([*words, (0, "")]):
            whole, apart = word, _APART.match(word) is not None
            if apart:
                word += following
                whole = line.text[start : after + len(following)]
            match = _HEREDOC.match(word)
            name, quoted = _name(match[3]) if match else ("", False)
            if match is None or not name or match[0].endswith("<<-"):
                continue
            if apart and not _PLAIN_NAME.fullmatch(following) and not self._ends(name):
                continue  # a shift, as in $((1 << 2))
            content = self._until(name, bool(match[2]), line, start)
            found.append(Heredoc(name, content, not quoted, bool(match[2]), whole))
        return tuple(found)

    def _ends(self, name: str) -> bool:
        """Whether a line further down is the end of a here-document of that name."""
        return name in self.source.lines[self.next :]

    def _until(self, name: str, chomp: bool, line: LogicalLine, start: int) -> str:
        content: list[str] = []
        while self.next < len(self.source.lines):
            text = self.source.lines[self.next]
            if (text.lstrip("\t") if chomp else text) == name:
                self.next += 1
                return "".join(content)
            content.append(self.source.whole(self.next))
            self.next += 1
        raise line.error(f"unterminated heredoc: no line with {name} alone follows", start)


def _invisible(text: str) -> bool:
    stripped = text.strip()
    return not stripped or stripped.startswith("#")


def _takes_heredoc(text: str) -> bool:
    words = text.split(None, 2)
    command = words[0].upper()
    if command == "ONBUILD" and len(words) > 1:
        command = words[1].upper()
    return command in HEREDOC_INSTRUCTIONS


def _name(word: str) -> tuple[str, bool]:
    """A here-document's name, and whether some of it was quoted; empty for what is no name.

    As BuildKit reads it: a backslash takes the next character as it is, whatever the file's escape
    character, and is no quote; a variable stands for its own spelling, but not with a modifier.
    """
    pieces: list[str] = []
    quoted, at = False, 0
    while at < len(word):
        match = _NAME_PIECE.match(word, at)
        if match is None:
            return "", False
        kind, at = match.lastgroup or "", match.end()
        text = match[kind]
        if kind == "double":
            if _MODIFIED.search(text):
                return "", False
            text = _ESCAPED.sub(r"\1", text)
        quoted = quoted or kind in ("double", "single")
        pieces.append(text)
    return "".join(pieces), quoted
