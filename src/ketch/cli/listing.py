"""Printing lists of objects: table, ids only, JSON lines, raw or a template.

``--format`` wins, then the user's default in ``config.json`` (``psFormat``, ``imagesFormat``, …),
then the table (docker's "Customize the default output format").
"""

import sys

from ketch.cli import table
from ketch.cli.flags import Flag

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Sequence
    from typing import Any

    from ketch.cli.flags import Parsed

FORMAT = Flag("format", help="table, table TEMPLATE, json or TEMPLATE, such as '{{.Names}}'")
QUIET = Flag("quiet", "q", "switch", "Only display IDs")
NO_TRUNC = Flag("no-trunc", "", "switch", "Don't truncate output")
FILTER = Flag("filter", "f", "list", "Filter output (key=value)", type="filter")
FLAGS = (FORMAT, QUIET, NO_TRUNC, FILTER)


class Column:
    """One column: its field name in templates and its header."""

    __slots__ = ("field", "header")

    def __init__(self, field: str, header: str) -> None:
        self.field = field
        self.header = header


class Kind:
    """What a listing is of: the words for errors, the key in config.json, further headers.

    ``raw`` is the template of ``--format raw``; ``label`` gives a row's method ``.Label``;
    ``faults`` is what goes before errors of parsing a template and of filling it.
    """

    __slots__ = ("config", "faults", "headers", "label", "raw", "type_name")

    def __init__(
        self,
        type_name: str = "row",
        config: str = "",
        headers: "dict[str, str] | None" = None,
        raw: str = "",
        label: "Callable[[dict[str, Any], str], str] | None" = None,
    ) -> None:
        self.type_name = type_name
        self.config = config
        self.headers = headers or {}
        self.raw = raw
        self.label = label
        self.faults = ("template parsing error: ", "template parsing error: ")


PLAIN = Kind()


def filters_of(parsed: "Parsed") -> "dict[str, list[str]] | None":
    """``--filter`` words in the API's shape; raises ``UsageError`` for words without ``=``."""
    from ketch.cli.flags import UsageError

    filters: dict[str, list[str]] = {}
    for word in parsed["filter"]:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(
                f'invalid argument "{word}" for "{parsed.spelling("filter")}" flag: '
                f"invalid filter '{word}'"
            )
        filters.setdefault(key.strip().lower(), []).append(value.strip())
    return filters or None


def show(
    parsed: "Parsed",
    columns: "Sequence[Column]",
    rows: "Sequence[dict[str, Any]]",
    key: str,
    kind: Kind = PLAIN,
) -> None:
    """Print ``rows`` (every row has all the columns' fields and ``key``, the ID)."""
    quiet = parsed.values.get("quiet", False)
    form = parsed["format"] or (_configured(kind.config) if not quiet else "") or "table"
    if form == "table" and quiet:
        sys.stdout.write("".join(row[key] + "\n" for row in rows))
    elif form == "table":
        header = [column.header for column in columns]
        sys.stdout.write(table.render(header, [[row[c.field] for c in columns] for row in rows]))
    else:
        headers = {**kind.headers, **{column.field: column.header for column in columns}}
        sys.stdout.write(formatted(form, rows, headers, kind, key if quiet else ""))


def _configured(key: str) -> str:
    """The user's own default format, if any."""
    if not key:
        return ""
    from ketch.client import config_file

    value = config_file.load().get(key)
    return value if isinstance(value, str) else ""


def formatted(
    form: str,
    rows: "Sequence[dict[str, Any]]",
    headers: "dict[str, str]",
    kind: Kind = PLAIN,
    quiet: str = "",
) -> str:
    """The rows by a template; every line ends with a newline."""
    from ketch.cli import template

    made = [_row(row, kind) for row in rows]
    if form == "json":
        return "".join(template.json_line(row) + "\n" for row in made)
    if form == "raw" and kind.raw:
        form = kind.raw.splitlines()[0] if quiet else kind.raw
    if not form.startswith("table"):
        fill = template.compiled(form, kind.faults[0], filling=kind.faults[1])
        return "".join(fill(row) + "\n" for row in made)
    form = form[5:].strip()
    fill = template.compiled(form, kind.faults[0], filling=kind.faults[1])
    lines = [line for row in made for line in fill(row).split("\n")]
    cells = [line.split("\t") for line in (template.header(form, headers), *lines)]
    return table.layout(cells)


def _row(row: "dict[str, Any]", kind: Kind) -> "Any":
    from ketch.cli.gotemplate.values import Row

    label = kind.label
    if label is None:
        return Row(row, kind.type_name)
    return Row(row, kind.type_name, {"Label": lambda name: label(row, name)})


def label_of(row: "dict[str, Any]", name: str) -> str:
    """The method ``.Label`` of rows that have labels."""
    for word in row["Labels"].split(","):
        key, _, value = word.partition("=")
        if key == name:
            return str(value)
    return ""


def labels_text(labels: "dict[str, str] | None") -> str:
    """``a=1,b=2``, in the order of their names."""
    return ",".join(f"{name}={value}" for name, value in sorted((labels or {}).items()))
