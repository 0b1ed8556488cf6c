"""Flags of the ``ketch-runtime`` command line, in the forms that other runtimes' callers write.

``--name value``, ``--name=value``, ``-n value``; switches are ``--name`` or ``--name=true|false``.
"""

from ketch.errors import InvalidParameter

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

_TRUE, _FALSE = ("true", "1", "t"), ("false", "0", "f")


class Flags:
    """What a command accepts: ``values`` take a word, ``lists`` may be repeated.

    ``short`` maps one letter to a long name. ``stops`` says that the first word that is no flag
    ends the flags: what follows belongs to another program.
    """

    __slots__ = ("lists", "short", "stops", "switches", "values")

    def __init__(
        self,
        values: "Sequence[str]" = (),
        switches: "Sequence[str]" = (),
        lists: "Sequence[str]" = (),
        short: "dict[str, str] | None" = None,
        stops: bool = False,
    ) -> None:
        self.values = frozenset(values)
        self.switches = frozenset(switches)
        self.lists = frozenset(lists)
        self.short = short or {}
        self.stops = stops


class Given:
    """The flags that were given, and the words after them."""

    __slots__ = ("lists", "on", "values", "words")

    def __init__(self) -> None:
        self.values: dict[str, str] = {}
        self.lists: dict[str, list[str]] = {}
        self.on: set[str] = set()
        self.words: list[str] = []

    def value(self, name: str, default: str = "") -> str:
        """The word given with ``--name``."""
        return self.values.get(name, default)

    def number(self, name: str) -> int:
        """As ``value``, as a number of at least 0; raises ``InvalidParameter``."""
        text = self.values.get(name, "0")
        if not (text.isascii() and text.isdigit()):
            raise InvalidParameter(f"--{name} wants a number, not {text!r}")
        return int(text)


def parse(flags: Flags, args: "Sequence[str]") -> Given:
    """Sort ``args``; raises ``InvalidParameter`` for a flag that is not known."""
    given = Given()
    rest = list(args)
    while rest:
        word = rest.pop(0)
        if word == "--":
            given.words += rest
            break
        if len(word) > 1 and word.startswith("-"):
            _take(flags, given, word, rest)
            continue
        given.words.append(word)
        if flags.stops:
            given.words += rest
            break
    return given


def _take(flags: Flags, given: Given, word: str, rest: "list[str]") -> None:
    shown, equals, value = word.partition("=")
    name = shown.lstrip("-")
    name = flags.short.get(name, name)
    if name in flags.switches:
        _switch(given, name, value if equals else "true")
        return
    if name not in flags.values and name not in flags.lists:
        raise InvalidParameter(f"flag provided but not defined: {shown}")
    if not equals:
        if not rest:
            raise InvalidParameter(f"flag needs an argument: {shown}")
        value = rest.pop(0)
    if name in flags.lists:
        given.lists.setdefault(name, []).append(value)
    else:
        given.values[name] = value


def _switch(given: Given, name: str, value: str) -> None:
    if value.lower() in _TRUE:
        given.on.add(name)
    elif value.lower() in _FALSE:
        given.on.discard(name)
    else:
        raise InvalidParameter(f"--{name} is true or false, not {value!r}")
