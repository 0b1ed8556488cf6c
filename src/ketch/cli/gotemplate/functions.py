"""The functions of templates: Go's own and those that Docker adds for ``--format``.

Each takes decoded values and raises ``CallError``; how many arguments it takes is checked by
the evaluator from the table. ``and`` and ``or`` are the evaluator's, since they may leave
arguments unevaluated.
"""

from ketch.cli.gotemplate.errors import CallError
from ketch.cli.gotemplate.numbers import kind_of
from ketch.cli.gotemplate.printing import Formatter, shown, sprint, sprintln
from ketch.cli.gotemplate.values import NilList, Row
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

MANY = 1 << 30
WIDEST = 1 << 20


class NoValue:
    """What a missing key of a map gives; prints ``<no value>``."""

    def __str__(self) -> str:
        return "<no value>"

    def __bool__(self) -> bool:
        return False


NO_VALUE = NoValue()


def truth(value: "Any") -> bool:
    """Go's truth: not the zero value, and objects always."""
    return True if isinstance(value, dict) and hasattr(value, "field") else bool(value)


def _index(value: "Any", *keys: "Any") -> "Any":
    for key in keys:
        if isinstance(value, dict):
            value = _of_map(value, key)
        elif isinstance(value, (list, tuple, str)):
            value = _of_list(value, key)
        elif value is None:
            raise CallError("index of untyped nil")
        else:
            raise CallError(f"can't index item of type {kind_of(value)}")
    return value


def _of_map(value: "dict[str, Any]", key: "Any") -> "Any":
    if hasattr(value, "field"):
        raise CallError(f"can't index item of type {kind_of(value)}")
    if not isinstance(key, str):
        raise CallError(f"value has type {kind_of(key)}; should be string")
    if key in value:
        return value[key]
    others = list(value.values())
    return "" if all(isinstance(other, str) for other in others) else None


def _of_list(value: "Any", key: "Any") -> "Any":
    if isinstance(key, bool) or not isinstance(key, int):
        raise CallError(f"cannot index slice/array with type {kind_of(key)}")
    if not 0 <= key < len(value):
        raise CallError(f"index out of range: {key}")
    return ord(value[key]) if isinstance(value, str) else value[key]


def _slice(value: "Any", *bounds: "Any") -> "Any":
    if not isinstance(value, (list, tuple, str)):
        raise CallError(f"can't slice item of type {kind_of(value)}")
    if len(bounds) > 2:
        raise CallError(
            "cannot 3-index slice a string" if isinstance(value, str) else "too many slice indexes"
        )
    ends = [0, len(value)]
    for place, bound in enumerate(bounds):
        if isinstance(bound, bool) or not isinstance(bound, int):
            raise CallError(f"cannot index slice/array with type {kind_of(bound)}")
        if not 0 <= bound <= len(value):
            raise CallError(f"index out of range: {bound}")
        ends[place] = bound
    if ends[0] > ends[1]:
        raise CallError(f"invalid slice index: {ends[0]} > {ends[1]}")
    return value[ends[0] : ends[1]]


def _len(value: "Any") -> int:
    if value is None:
        raise CallError("len of nil pointer")
    if not isinstance(value, (str, list, tuple, dict)) or hasattr(value, "field"):
        raise CallError(f"len of type {kind_of(value)}")
    return len(value.encode()) if isinstance(value, str) else len(value)


def _kind(value: "Any") -> str:
    if value is None or value is NO_VALUE:
        return "nil"
    kind = kind_of(value)
    if kind not in ("bool", "int", "float64", "string"):
        raise CallError(f"non-comparable type {shown(value)}: {kind}")
    return kind


def _eq(first: "Any", *others: "Any") -> bool:
    if not others:
        raise CallError("missing argument for comparison")
    kind = _kind(first)
    found = False
    for other in others:
        if _kind(other) != kind and "nil" not in (kind, _kind(other)):
            raise CallError("incompatible types for comparison")
        found = found or (_kind(other) == kind and first == other)
    return found


def _less(first: "Any", second: "Any") -> bool:
    kind = _kind(first)
    if kind != _kind(second):
        raise CallError("incompatible types for comparison")
    if kind in ("bool", "nil"):
        raise CallError("invalid type for comparison")
    return bool(first < second)


def _call(*values: "Any") -> "Any":
    raise CallError(f"non-function {{}} of type {kind_of(values[0])}")


HTML = {"<": "&lt;", ">": "&gt;", "&": "&amp;", '"': "&#34;", "'": "&#39;", "\0": "\ufffd"}
JS = {"\\": "\\\\", "'": "\\'", '"': '\\"', "<": "\\u003C", ">": "\\u003E", "&": "\\u0026"}
JS["="] = "\\u003D"


def _text_of(values: "tuple[Any, ...]") -> str:
    return values[0] if len(values) == 1 and isinstance(values[0], str) else sprint(values)


def _html(*values: "Any") -> str:
    return "".join(HTML.get(char, char) for char in _text_of(values))


def _js(*values: "Any") -> str:
    out = []
    for char in _text_of(values):
        if char in JS:
            out.append(JS[char])
        elif char < " " or not char.isprintable():
            out.append(f"\\u{ord(char):04X}")
        else:
            out.append(char)
    return "".join(out)


def _urlquery(*values: "Any") -> str:
    from ketch.client.api import quote

    return quote(_text_of(values)).replace("%20", "+")


def _printf(*values: "Any") -> str:
    return Formatter(values[0], values[1:]).run()


_ESCAPES = {"<": "\\u003c", ">": "\\u003e", "&": "\\u0026"}


def escaped(text: str) -> str:
    """JSON with the escapes of Go's ``json.Marshal``."""
    if any(char in text for char in _ESCAPES):
        return "".join(_ESCAPES.get(char, char) for char in text)
    return text


def json_text(value: "Any") -> str:
    """Compact JSON, without the escapes that HTML needs."""
    if isinstance(value, (NoValue, NilList)):
        value = None
    if isinstance(value, Row):
        return escaped(fastjson.dumps(value.plain()).decode())
    return fastjson.dumps(value).decode()


def _split(text: str, separator: str) -> "list[str]":
    return text.split(separator) if separator else list(text)


def _join(values: "list[Any]", separator: str) -> str:
    return separator.join(item if isinstance(item, str) else shown(item) for item in values)


def _title(text: str) -> str:
    out, before = [], " "
    for char in text:
        starts = not (before.isalnum() or before == "_")
        out.append(char.title() if starts else char)
        before = char
    return "".join(out)


def _pad(text: str, before: int, after: int) -> str:
    """Spaces around a text; an empty one stays empty."""
    left, right = min(before, WIDEST), min(after, WIDEST)
    return " " * left + text + " " * right if text else ""


def _truncate(text: str, length: int) -> str:
    return text[: max(length, 0)]


FUNCTIONS: "dict[str, tuple[Callable[..., Any] | None, int, int]]" = {
    "and": (None, 1, MANY),
    "or": (None, 1, MANY),
    "not": (lambda value: not truth(value), 1, 1),
    "index": (_index, 1, MANY),
    "slice": (_slice, 1, MANY),
    "len": (_len, 1, 1),
    "call": (_call, 1, MANY),
    "print": (lambda *values: sprint(values), 0, MANY),
    "println": (lambda *values: sprintln(values), 0, MANY),
    "printf": (_printf, 1, MANY),
    "html": (_html, 0, MANY),
    "js": (_js, 0, MANY),
    "urlquery": (_urlquery, 0, MANY),
    "eq": (_eq, 1, MANY),
    "ne": (lambda first, second: not _eq(first, second), 2, 2),
    "lt": (_less, 2, 2),
    "le": (lambda first, second: _less(first, second) or _eq(first, second), 2, 2),
    "gt": (lambda first, second: not (_less(first, second) or _eq(first, second)), 2, 2),
    "ge": (lambda first, second: not _less(first, second), 2, 2),
    "json": (json_text, 1, 1),
    "split": (_split, 2, 2),
    "join": (_join, 2, 2),
    "title": (_title, 1, 1),
    "lower": (lambda text: text.lower(), 1, 1),
    "upper": (lambda text: text.upper(), 1, 1),
    "pad": (_pad, 3, 3),
    "truncate": (_truncate, 2, 2),
}
TYPES = {  # of parameters, where Go's functions have them
    "printf": ("string",), "split": ("string", "string"), "join": ("[]string", "string"),
    "title": ("string",), "lower": ("string",), "upper": ("string",),
    "pad": ("string", "int", "int"), "truncate": ("string", "int"),
}  # fmt: skip
_HEADER_ONLY = ("json", "split", "join", "title", "lower", "upper", "pad", "truncate")
HEADER_FUNCTIONS = {  # in the header of a table these leave the column's name as it is
    **FUNCTIONS,
    **{name: (lambda text, *_: text, *FUNCTIONS[name][1:]) for name in _HEADER_ONLY},
}
