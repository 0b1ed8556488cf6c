"""Printing lists of objects: table, ids only, JSON lines or a template."""

import sys

from ketch.cli import table, template
from ketch.cli.flags import Flag
from ketch.linux import fastjson

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

    from ketch.cli.flags import Parsed

FLAGS = (
    Flag("format", help="table, json or a template such as '{{.Names}}'"),
    Flag("quiet", "q", "switch", "Only display IDs"),
    Flag("no-trunc", "", "switch", "Don't truncate output"),
    Flag("filter", "f", "list", "Filter output (key=value)"),
)


class Column:
    """One column: its field name in templates and its header."""

    __slots__ = ("field", "header")

    def __init__(self, field: str, header: str) -> None:
        self.field = field
        self.header = header


def filters_of(parsed: "Parsed") -> "dict[str, list[str]] | None":
    """``--filter`` words in the API's shape; raises ``UsageError`` for words without ``=``."""
    from ketch.cli.flags import UsageError

    filters: dict[str, list[str]] = {}
    for word in parsed["filter"]:
        key, equals, value = word.partition("=")
        if not equals:
            raise UsageError(f'invalid argument "{word}" for "-f, --filter" flag: use key=value')
        filters.setdefault(key.strip(), []).append(value)
    return filters or None


def show(
    parsed: "Parsed", columns: "Sequence[Column]", rows: "Sequence[dict[str, str]]", key: str
) -> None:
    """Print ``rows`` (every row has all the columns' fields and ``key``, the ID)."""
    form = parsed["format"] or "table"
    if parsed["quiet"] and not parsed["format"]:
        sys.stdout.write("".join(row[key] + "\n" for row in rows))
    elif form == "json":
        sys.stdout.write("".join(fastjson.dumps(row).decode() + "\n" for row in rows))
    elif form == "table":
        header = [column.header for column in columns]
        sys.stdout.write(table.render(header, [[row[c.field] for c in columns] for row in rows]))
    elif form.startswith("table "):
        _table_of(form[6:], columns, rows)
    else:
        sys.stdout.write("".join(template.expand(form, row) + "\n" for row in rows))


def _table_of(form: str, columns: "Sequence[Column]", rows: "Sequence[dict[str, str]]") -> None:
    headers = {column.field: column.header for column in columns}
    lines = [template.expand(form, row).split("\t") for row in rows]
    first = "".join(
        headers.get(text.lstrip("."), text.lstrip(".").upper()) if is_action else text
        for is_action, text in template.parts(form)
    )
    sys.stdout.write(table.render(first.split("\t"), lines))
