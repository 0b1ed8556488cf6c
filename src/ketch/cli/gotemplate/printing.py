"""Values as Go's package fmt prints them: ``print``, ``println``, ``printf``."""

from ketch.cli.gotemplate.numbers import kind_of, shortest
from ketch.cli.gotemplate.quoting import quoted
from ketch.cli.gotemplate.values import Struct

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

WIDEST = 10_000  # a width or precision above is taken as none: output stays bounded
DEEPEST = 60


def shown(value: "Any", depth: int = 0) -> str:
    """``%v``."""
    if depth > DEEPEST:
        return "..."
    if value is None:
        return "<nil>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, float):
        return shortest(value)
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(shown(item, depth + 1) for item in value) + "]"
    if isinstance(value, Struct):
        return "{" + " ".join(shown(item, depth + 1) for item in value.values()) + "}"
    if isinstance(value, dict):
        pairs = (f"{key}:{shown(value[key], depth + 1)}" for key in sorted(value))
        return "map[" + " ".join(pairs) + "]"
    return str(value)


def sprint(values: "Sequence[Any]") -> str:
    """``print``: a space between two operands when neither is a string."""
    out = ""
    for index, value in enumerate(values):
        if index and not isinstance(value, str) and not isinstance(values[index - 1], str):
            out += " "
        out += shown(value)
    return out


def sprintln(values: "Sequence[Any]") -> str:
    """``println``: spaces between all and a newline."""
    return " ".join(map(shown, values)) + "\n"


class Verb:
    """One ``%`` directive: flags, width, precision, letter."""

    __slots__ = ("flags", "letter", "precision", "width")

    def __init__(self) -> None:
        self.flags = ""
        self.width = 0
        self.precision: int | None = None
        self.letter = ""


class Formatter:
    """One call of ``printf``."""

    def __init__(self, form: str, values: "Sequence[Any]") -> None:
        self._form = form
        self._values = values
        self._position = 0
        self._used = 0
        self._reordered = False

    def run(self) -> str:
        """The finished text, with Go's marks for what is wrong in it."""
        out: list[str] = []
        while self._position < len(self._form):
            end = self._form.find("%", self._position)
            end = len(self._form) if end < 0 else end
            out.append(self._form[self._position : end])
            self._position = end + 1
            if end < len(self._form):
                out.append(self._directive())
        extra = self._values[self._used :]
        if extra and not self._reordered:
            shown_extra = ", ".join(
                shown(v) if v is None else f"{kind_of(v)}={shown(v)}" for v in extra
            )
            out.append(f"%!(EXTRA {shown_extra})")
        return "".join(out)

    def _char(self) -> str:
        return self._form[self._position : self._position + 1]

    def _directive(self) -> str:
        verb = Verb()
        while self._char() and self._char() in "+-# 0":
            verb.flags += self._char()
            self._position += 1
        bad = self._index()
        verb.width = self._number() or 0
        if verb.width < 0:
            verb.flags, verb.width = verb.flags + "-", -verb.width
        if self._char() == ".":
            self._position += 1
            verb.precision = self._number() or 0
        bad = self._index() or bad
        verb.letter = self._char()
        self._position += 1
        if not verb.letter:
            return "%!(NOVERB)"
        if verb.letter == "%":
            return "%"
        if bad:
            return f"%!{verb.letter}(BADINDEX)"
        if self._used >= len(self._values):
            return f"%!{verb.letter}(MISSING)"
        self._used += 1
        return one(verb, self._values[self._used - 1])

    def _index(self) -> bool:
        """``[3]``: which operand is next; True when that makes no sense."""
        if self._char() != "[":
            return False
        end = self._form.find("]", self._position)
        digits = self._form[self._position + 1 : end] if end > 0 else ""
        self._position = end + 1 if end > 0 else self._position + 1
        if not digits.isdigit() or len(digits) > 6 or not 0 < int(digits) <= len(self._values):
            return True
        self._used = int(digits) - 1
        self._reordered = True
        return False

    def _number(self) -> "int | None":
        """A width or precision: digits, or ``*`` for the next operand."""
        if self._char() == "*":
            self._position += 1
            value = self._values[self._used] if self._used < len(self._values) else None
            self._used += 1
            return value if isinstance(value, int) and abs(value) <= WIDEST else None
        start = self._position
        while self._char().isdigit():
            self._position += 1
        digits = self._form[start : self._position]
        return int(digits) if digits and len(digits) < 7 and int(digits) <= WIDEST else None


def one(verb: Verb, value: "Any") -> str:
    """One operand by one directive."""
    if verb.letter == "T":
        return _padded(verb, kind_of(value))
    if verb.letter == "v":
        return _padded(verb, _with_names(value) if "+" in verb.flags else _plain(verb, value))
    if isinstance(value, (list, tuple)):
        return "[" + " ".join(one(verb, item) for item in value) + "]"
    if isinstance(value, Struct):
        return "{" + " ".join(one(verb, item) for item in value.values()) + "}"
    if isinstance(value, dict):
        pairs = (f"{one(verb, key)}:{one(verb, value[key])}" for key in sorted(value))
        return "map[" + " ".join(pairs) + "]"
    text = _scalar(verb, value)
    if text is None:
        inner = shown(value) if value is None else f"{kind_of(value)}={shown(value)}"
        return f"%!{verb.letter}({inner})"
    return _padded(verb, text)


def _plain(verb: Verb, value: "Any") -> str:
    if "#" in verb.flags and isinstance(value, str):
        return quoted(value)
    return shown(value)


def _with_names(value: "Any", depth: int = 0) -> str:
    """``%+v``: structs with the names of their fields."""
    if isinstance(value, Struct) and depth < DEEPEST:
        pairs = (f"{key}:{_with_names(item, depth + 1)}" for key, item in value.items())
        return "{" + " ".join(pairs) + "}"
    if isinstance(value, (list, tuple)) and depth < DEEPEST:
        return "[" + " ".join(_with_names(item, depth + 1) for item in value) + "]"
    return shown(value)


def _scalar(verb: Verb, value: "Any") -> "str | None":
    """The text of a value without parts; None when the verb does not suit it."""
    if isinstance(value, bool):
        return shown(value) if verb.letter == "t" else None
    if isinstance(value, int):
        return _integer(verb, value)
    if isinstance(value, float):
        return _float(verb, value)
    if isinstance(value, str):
        return _string(verb, value)
    return None


def _integer(verb: Verb, value: int) -> "str | None":
    letter, alternate = verb.letter, "#" in verb.flags
    if letter in ("c", "q", "U"):
        if not 0 <= value <= 0x10FFFF or 0xD800 <= value < 0xE000:
            value = 0xFFFD
        text = chr(value)
        return {"c": text, "q": quoted(text, "'"), "U": f"U+{value:04X}"}[letter]
    if letter not in ("d", "b", "o", "O", "x", "X"):
        return None
    digits = format(abs(value), {"O": "o"}.get(letter, letter))
    prefixes = {"x": "0x", "X": "0X", "o": "0", "b": "0b"}
    prefix = "0o" if letter == "O" else prefixes.get(letter, "") if alternate else ""
    sign = "-" if value < 0 else "+" if "+" in verb.flags else " " if " " in verb.flags else ""
    if verb.precision is not None:
        digits = digits.rjust(verb.precision, "0")
    elif "0" in verb.flags and "-" not in verb.flags:
        digits = digits.rjust(verb.width - len(sign + prefix), "0")
    return sign + prefix + digits


def _float(verb: Verb, value: float) -> "str | None":
    if verb.letter not in "eEfFgG":
        return None
    sign = "+" if "+" in verb.flags and value >= 0 else ""
    if verb.letter in "gG" and verb.precision is None:
        text = sign + shortest(value)
    else:
        digits = 6 if verb.precision is None else verb.precision
        text = sign + format(value, f".{digits}{verb.letter}")
    if "0" in verb.flags and "-" not in verb.flags:
        mark = text[:1] if text[:1] in "+-" else ""
        text = mark + text[len(mark) :].rjust(verb.width - len(mark), "0")
    return text


def _string(verb: Verb, value: str) -> "str | None":
    if verb.precision is not None and verb.letter in "sq":
        value = value[: verb.precision]
    if verb.letter == "s":
        return value
    if verb.letter == "q":
        return f"`{value}`" if "#" in verb.flags and "`" not in value else quoted(value)
    if verb.letter in ("x", "X"):
        digits = value.encode().hex(*((" ",) if " " in verb.flags and value else ()))
        return digits.upper() if verb.letter == "X" else digits
    return None


def _padded(verb: Verb, text: str) -> str:
    return text.ljust(verb.width) if "-" in verb.flags else text.rjust(verb.width)
