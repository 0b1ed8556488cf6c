"""Parsing of command lines, as Docker users know it (the rules of Go's pflag).

``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``-it`` for switches; a switch takes
``--rm=false``. Commands that run something stop at the first word that is no flag. ``argparse``
costs 8 ms of imports at every start and has other rules.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any


class UsageError(Exception):
    """The command line is wrong; exit code 125."""


class HelpWanted(Exception):
    """``--help`` was given."""


class Flag:
    """One flag. ``kind``: ``switch``, ``text``, ``number`` or ``list`` (given again and again)."""

    __slots__ = ("default", "help", "kind", "name", "short")

    def __init__(
        self, name: str, short: str = "", kind: str = "text", help: str = "", default: object = None
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default

    def initial(self) -> object:
        """The value when the flag is absent."""
        if self.kind == "list":
            return []
        return False if self.kind == "switch" and self.default is None else self.default


class Parsed:
    """Flag values by name (``parsed["name"]``), the words left, and which flags were given."""

    __slots__ = ("given", "values", "words")

    def __init__(self, values: "dict[str, Any]") -> None:
        self.values = values
        self.words: list[str] = []
        self.given: set[str] = set()

    def __getitem__(self, name: str) -> "Any":
        return self.values[name]


def parse(flags: "Sequence[Flag]", argv: "Sequence[str]", *, interspersed: bool = True) -> Parsed:
    """Parse ``argv``; raises ``UsageError`` with Docker's words, or ``HelpWanted``."""
    names = {flag.name: flag for flag in flags}
    shorts = {flag.short: flag for flag in flags if flag.short}
    parsed = Parsed({flag.name: flag.initial() for flag in flags})
    words = list(argv)
    while words:
        word = words.pop(0)
        if word == "--":
            parsed.words.extend(words)
            break
        if word.startswith("--"):
            _long(names, word, words, parsed)
        elif word.startswith("-") and len(word) > 1:
            _short(shorts, word, words, parsed)
        else:
            parsed.words.append(word)
            if not interspersed:
                parsed.words.extend(words)
                break
    return parsed


def _long(names: "dict[str, Flag]", word: str, words: "list[str]", parsed: Parsed) -> None:
    name, equals, value = word[2:].partition("=")
    flag = names.get(name)
    if flag is None:
        if name == "help":
            raise HelpWanted
        raise UsageError(f"unknown flag: --{name}")
    if flag.kind == "switch":
        parsed.values[name] = _truth(flag, value) if equals else True
    elif equals:
        _store(flag, value, parsed)
    elif words:
        _store(flag, words.pop(0), parsed)
    else:
        raise UsageError(f"flag needs an argument: --{name}")
    parsed.given.add(name)


def _short(shorts: "dict[str, Flag]", word: str, words: "list[str]", parsed: Parsed) -> None:
    letters = word[1:]
    while letters:
        letter, letters = letters[0], letters[1:]
        flag = shorts.get(letter)
        if flag is None:
            if letter == "h":
                raise HelpWanted
            raise UsageError(f"unknown shorthand flag: {letter!r} in {word}")
        parsed.given.add(flag.name)
        if flag.kind == "switch":
            if letters.startswith("="):
                parsed.values[flag.name] = _truth(flag, letters[1:])
                return
            parsed.values[flag.name] = True
            continue
        if letters:
            _store(flag, letters.removeprefix("="), parsed)
        elif words:
            _store(flag, words.pop(0), parsed)
        else:
            raise UsageError(f"flag needs an argument: {letter!r} in {word}")
        return


def _truth(flag: Flag, value: str) -> bool:
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    raise UsageError(f'invalid argument "{value}" for "--{flag.name}" flag: use true or false')


def _store(flag: Flag, value: str, parsed: Parsed) -> None:
    if flag.kind == "list":
        parsed.values[flag.name].append(value)
    elif flag.kind == "number":
        try:
            parsed.values[flag.name] = int(value)
        except ValueError:
            raise UsageError(
                f'invalid argument "{value}" for "--{flag.name}" flag: not a whole number'
            ) from None
    else:
        parsed.values[flag.name] = value


def describe(flags: "Sequence[Flag]") -> str:
    """The flags' section of a help page."""
    rows = []
    for flag in sorted(flags, key=lambda flag: flag.name):
        short = f"-{flag.short}, " if flag.short else "    "
        kind = "" if flag.kind == "switch" else f" {flag.kind}"
        rows.append((f"  {short}--{flag.name}{kind}", flag.help))
    width = max((len(left) for left, _ in rows), default=0) + 3
    return "\n".join(f"{left:<{width}}{right}".rstrip() for left, right in rows)
