"""Tables in plain text, columns parted by three spaces, as Docker prints them."""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence


def render(header: "Sequence[str]", rows: "Sequence[Sequence[str]]") -> str:
    """The table as one string with a newline at its end."""
    everything = [list(header), *[list(row) for row in rows]]
    widths = [max(len(row[column]) for row in everything) for column in range(len(header))]
    lines = []
    for row in everything:
        cells = [cell.ljust(width) for cell, width in zip(row[:-1], widths, strict=False)]
        lines.append("   ".join([*cells, row[-1]]).rstrip())
    return "\n".join(lines) + "\n"
