"""One line of comma-separated values (RFC 4180), as ``--mount`` and ``--gpus`` are written."""


def fields(text: str) -> "list[str]":
    """The fields; quotes may hold commas. Raises ``ValueError``."""
    found, position = [], 0
    while True:
        field, position = _field(text, position)
        found.append(field)
        if position >= len(text):
            return found
        position += 1
        if position == len(text):
            return [*found, ""]


def _field(text: str, start: int) -> "tuple[str, int]":
    """(field, where its comma is or the text ends)."""
    if not text.startswith('"', start):
        end = text.find(",", start)
        end = len(text) if end < 0 else end
        if '"' in text[start:end]:
            raise _error(text.index('"', start), 'bare " in non-quoted-field')
        return text[start:end], end
    out, position = [], start + 1
    while True:
        end = text.find('"', position)
        if end < 0:
            raise _error(len(text), 'extraneous or missing " in quoted-field')
        out.append(text[position:end])
        if text.startswith('""', end):
            out.append('"')
            position = end + 2
            continue
        if end + 1 < len(text) and text[end + 1] != ",":
            raise _error(end + 1, 'extraneous or missing " in quoted-field')
        return "".join(out), end + 1


def _error(column: int, why: str) -> ValueError:
    return ValueError(f"parse error on line 1, column {column + 1}: {why}")
