"""Parsing of command lines, as Docker users know it (the rules of Go's pflag).

``--name value``, ``--name=value``, ``-n value``, ``-nvalue``, ``-it`` for switches; a switch takes
``--rm=false``. Commands that run something stop at the first word that is no flag. ``argparse``
costs 8 ms of imports at every start and has other rules.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any


class UsageError(Exception):
    """What was asked makes no sense, though each flag does."""


class FlagError(UsageError):
    """A flag is unknown or has a bad value; exit code 125, with the command's usage line."""


class CountError(UsageError):
    """Too few or too many words; exit code 1, with the command's usage line."""


class Failure(Exception):
    """The command failed on this side: printed as it is."""

    def __init__(self, message: str, code: int = 1) -> None:
        super().__init__(message)
        self.code = code


class HelpWanted(Exception):
    """``--help`` was given."""


WORDS = {"switch": "", "text": "string", "number": "int", "list": "list", "strings": "strings"}


class Flag:
    """One flag.

    ``kind``: ``switch``, ``text``, ``number``, ``list`` (given again and again) or ``strings`` (the
    same, and with commas). ``type`` is the word for the value in help. ``convert`` makes the value
    of the text; it raises ``ValueError`` with the reason. ``values`` are what completion offers:
    words, or the name of a live list such as ``containers``. ``also`` are old names that work.
    """

    __slots__ = ("also", "convert", "default", "help", "kind", "name", "short", "type", "values")

    def __init__(
        self,
        name: str,
        short: str = "",
        kind: str = "text",
        help: str = "",
        default: object = None,
        **more: "Any",
    ) -> None:
        self.name = name
        self.short = short
        self.kind = kind
        self.help = help
        self.default = default
        self.type: str = more.get("type") or WORDS[kind]
        self.convert: Callable[[str], Any] | None = more.get("convert")
        self.values: str | tuple[str, ...] = more.get("values", ())
        self.also: tuple[str, ...] = more.get("also", ())

    def initial(self) -> object:
        """The value when the flag is absent."""
        if self.kind in ("list", "strings"):
            return []
        return False if self.kind == "switch" and self.default is None else self.default

    def spelling(self) -> str:
        """``-f, --filter``, as error messages name it."""
        return f"-{self.short}, --{self.name}" if self.short else f"--{self.name}"


class Parsed:
    """Flag values by name (``parsed["name"]``), the words left, and which flags were given."""

    __slots__ = ("flags", "given", "values", "words")

    def __init__(self, values: "dict[str, Any]", flags: "dict[str, Flag]") -> None:
        self.values = values
        self.flags = flags
        self.words: list[str] = []
        self.given: set[str] = set()

    def __getitem__(self, name: str) -> "Any":
        return self.values[name]

    def spelling(self, name: str) -> str:
        """How error messages name a flag."""
        return self.flags[name].spelling()

    def wrong(self, name: str, value: str, why: str) -> FlagError:
        """The error for a value that a flag does not take."""
        return FlagError(f'invalid argument "{value}" for "{self.spelling(name)}" flag: {why}')


def parse(flags: "Sequence[Flag]", argv: "Sequence[str]", *, interspersed: bool = True) -> Parsed:
    """Parse ``argv``; raises ``FlagError`` with Docker's words, or ``HelpWanted``."""
    names = {flag.name: flag for flag in flags}
    parsed = Parsed({flag.name: flag.initial() for flag in flags}, names)
    reader = _Reader(names, parsed, list(argv))
    reader.run(interspersed)
    if reader.help:
        raise HelpWanted
    return parsed


def count(parsed: Parsed, command: str, least: int, most: "int | None" = -1) -> None:
    """Check how many words there are; ``most`` None is any number, -1 the same as ``least``.

    Raises ``CountError`` with Docker's words.
    """
    most = least if most == -1 else most
    found = len(parsed.words)
    if found >= least and (most is None or found <= most):
        return
    if most == 0:
        rule = "accepts no arguments"
    elif most is None:
        rule = f"requires at least {least} argument{'s' * (least > 1)}"
    elif least == most:
        rule = f"requires {least} argument{'s' * (least > 1)}"
    elif least == 0:
        rule = f"requires at most {most} argument{'s' * (most > 1)}"
    else:
        rule = f"requires at least {least} and at most {most} arguments"
    raise CountError(f"'ketch {command}' {rule}")


class _Reader:
    """One pass over the words of a command line."""

    def __init__(self, names: "dict[str, Flag]", parsed: Parsed, words: "list[str]") -> None:
        self.long = names
        self.short = {flag.short: flag for flag in names.values() if flag.short}
        self.parsed = parsed
        self.words = words
        self.next = 0
        self.help = False

    def run(self, interspersed: bool) -> None:
        """Read all words."""
        while self.next < len(self.words):
            word = self.words[self.next]
            self.next += 1
            if word == "--":
                break
            if word.startswith("--"):
                self._long(word)
            elif word.startswith("-") and len(word) > 1:
                self._short(word)
            else:
                self.parsed.words.append(word)
                if not interspersed:
                    break
        self.parsed.words.extend(self.words[self.next :])

    def _value(self, described: str) -> str:
        if self.next == len(self.words):
            raise FlagError(f"flag needs an argument: {described}")
        self.next += 1
        return self.words[self.next - 1]

    def _find(self, name: str) -> "Flag | None":
        found = self.long.get(name)
        if found is None:
            found = next((flag for flag in self.long.values() if name in flag.also), None)
        return found

    def _long(self, word: str) -> None:
        name, equals, value = word[2:].partition("=")
        flag = self._find(name)
        if flag is None:
            if name == "help":
                self.help = not equals or _truth(HELP, value)
                return
            if not name or name.startswith("-"):
                raise FlagError(f"bad flag syntax: {word}")
            raise FlagError(f"unknown flag: --{name}{self._near(name)}")
        if flag.kind == "switch":
            self._store(flag, value if equals else "true")
        else:
            self._store(flag, value if equals else self._value(f"--{name}"))

    def _near(self, name: str) -> str:
        """A guess what was meant."""
        from difflib import get_close_matches

        close = get_close_matches(name, self.long, 1, 0.75)
        return f" (did you mean --{close[0]}?)" if close else ""

    def _short(self, word: str) -> None:
        letters = word[1:]
        while letters:
            letter, letters = letters[0], letters[1:]
            flag = self.short.get(letter)
            if flag is None:
                if letter == "h":
                    self.help = True
                    continue
                raise FlagError(f"unknown shorthand flag: {letter!r} in -{letter}{letters}")
            if flag.kind == "switch" and not letters.startswith("="):
                self._store(flag, "true")
                continue
            rest = letters.removeprefix("=")
            value = rest if letters else self._value(f"{letter!r} in -{letter}")
            self._store(flag, value)
            return

    def _store(self, flag: Flag, value: str) -> None:
        self.parsed.given.add(flag.name)
        values = self.parsed.values
        if flag.kind == "switch":
            values[flag.name] = _truth(flag, value)
            return
        if flag.kind == "strings":
            values[flag.name].extend(value.split(",") if value else [])
            return
        made: Any = value
        convert = flag.convert or (_whole if flag.kind == "number" else None)
        if convert is not None:
            try:
                made = convert(value)
            except ValueError as error:
                raise self.parsed.wrong(flag.name, value, str(error)) from None
        if flag.kind == "list":
            values[flag.name].append(made)
        else:
            values[flag.name] = made


HELP = Flag("help", "h", "switch", "Print usage")


def _truth(flag: Flag, value: str) -> bool:
    if value in ("1", "t", "T", "true", "TRUE", "True"):
        return True
    if value in ("0", "f", "F", "false", "FALSE", "False"):
        return False
    why = f'strconv.ParseBool: parsing "{value}": invalid syntax'
    raise FlagError(f'invalid argument "{value}" for "{flag.spelling()}" flag: {why}')


def _whole(text: str) -> int:
    """A whole number as Go reads it; raises ``ValueError`` with Go's words."""
    try:
        if text.strip() != text or "_" in text or not text.isascii():
            raise ValueError
        value = int(text)
    except ValueError:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": invalid syntax') from None
    if not -(1 << 63) <= value < 1 << 63:
        raise ValueError(f'strconv.ParseInt: parsing "{text}": value out of range')
    return value
