"""``--format``: Go templates over decoded JSON (``ketch.cli.gotemplate``), json, and raw text.

Imported only when a format is asked for.
"""

from ketch.cli.flags import Failure
from ketch.cli.gotemplate.errors import ExecError, ParseError
from ketch.cli.gotemplate.evaluate import execute
from ketch.cli.gotemplate.functions import FUNCTIONS, HEADER_FUNCTIONS, escaped
from ketch.cli.gotemplate.parser import parse
from ketch.cli.gotemplate.values import Row, structured

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable
    from typing import Any

PREFIX = "template parsing error: "


BAD_TEMPLATE = 64  # exit code of commands that check the template before all else


def compiled(
    text: str, prefix: str = PREFIX, code: int = 1, fill_code: int = 1, filling: str = ""
) -> "Callable[[Any], str]":
    """A function from a value to text; raises ``Failure``, as does the function.

    ``prefix`` goes before the errors, ``filling`` instead before those of filling. ``code`` and
    ``fill_code`` are exit codes for a text that is no template and for one that does not suit
    the value.
    """
    try:
        template = parse(unescaped(text), FUNCTIONS)
    except ParseError as error:
        raise Failure(f"{prefix}{error}", code) from None

    def fill(value: "Any") -> str:
        try:
            return execute(template, value if isinstance(value, Row) else structured(value))
        except ExecError as error:
            raise Failure(f"{filling or prefix}{error}", fill_code) from None

    return fill


def expand(text: str, value: "Any") -> str:
    """One template filled with one value."""
    return compiled(text)(value)


def unescaped(text: str) -> str:
    r"""``\t`` and ``\n`` typed as two characters become what they mean (docker's --format)."""
    return text.replace("\\t", "\t").replace("\\n", "\n")


class Headers(Row):
    """The header line of a table: column names by field; ``.Label "a.b"`` names itself."""

    def __init__(self, headers: "dict[str, str]") -> None:
        super().__init__(headers, "", {"Label": _label_header})

    def field(self, name: str) -> "tuple[bool, Any]":
        """Fields without a header of their own show none."""
        return True, self.get(name, "<no value>")


def _label_header(name: str) -> str:
    return name.rpartition(".")[2].replace("-", " ").replace("_", " ")


def header(text: str, headers: "dict[str, str]") -> str:
    """The header line that ``table TEMPLATE`` has."""
    try:
        return execute(parse(unescaped(text), HEADER_FUNCTIONS), Headers(headers), HEADER_FUNCTIONS)
    except (ParseError, ExecError) as error:
        raise Failure(f"{PREFIX}{error}") from None


def json_line(value: "Any") -> str:
    """Compact JSON as Go's ``json.Marshal`` has it; rows have their keys in order."""
    from ketch.linux import fastjson

    plain = value.plain() if isinstance(value, Row) else value
    return escaped(fastjson.dumps(plain).decode())
