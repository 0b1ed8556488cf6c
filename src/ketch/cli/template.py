"""``--format``: the part of Go's text/template that people use on the command line.

``{{.Field.Sub}}``, ``{{json .Field}}``, ``{{json .}}``, literal text, ``\\t`` and ``\\n``; ``json``
alone is one JSON object a line and ``table TEMPLATE`` puts a header over it. Anything else of the
template language (range, if, pipes) is refused by name.
"""

from ketch.cli.flags import UsageError
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from typing import Any


def parts(template: str) -> "list[tuple[bool, str]]":
    """Split into (is an action, text) pairs; raises ``UsageError`` when a ``}}`` is missing."""
    found: list[tuple[bool, str]] = []
    rest = template.replace("\\t", "\t").replace("\\n", "\n")
    while rest:
        literal, opened, rest = rest.partition("{{")
        if literal:
            found.append((False, literal))
        if not opened:
            break
        action, closed, rest = rest.partition("}}")
        if not closed:
            raise UsageError(f"template parsing error: unclosed action in {template!r}")
        found.append((True, action.strip().strip("-").strip()))
    return found


def expand(template: str, value: "Any") -> str:
    """The template filled with ``value`` (a decoded JSON object)."""
    out = []
    for is_action, text in parts(template):
        out.append(_action(text, value) if is_action else text)
    return "".join(out)


def _action(text: str, value: "Any") -> str:
    words = text.split()
    if len(words) == 2 and words[0] == "json":
        return fastjson.dumps(_field(words[1], value)).decode()
    if len(words) == 1 and words[0].startswith("."):
        return _text(_field(words[0], value))
    raise UsageError(
        f"template {{{{{text}}}}} is not supported: use {{{{.Field}}}} or {{{{json .Field}}}}"
    )


def _field(path: str, value: "Any") -> "Any":
    for name in path.strip(".").split(".") if path != "." else ():
        if not isinstance(value, dict) or name not in value:
            raise UsageError(f"template parsing error: no field {name!r} for {path!r}")
        value = value[name]
    return value


def _text(value: "Any") -> str:
    """A value as Go prints it."""
    if value is None:
        return "<no value>"
    if isinstance(value, bool):
        return "true" if value else "false"
    if isinstance(value, list):
        return "[" + " ".join(_text(item) for item in value) + "]"
    if isinstance(value, dict):
        return "map[" + " ".join(f"{key}:{_text(value[key])}" for key in sorted(value)) + "]"
    return str(value)
