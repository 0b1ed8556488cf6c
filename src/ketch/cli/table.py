"""Tables in plain text, as Go's text/tabwriter lays them out for docker.

A cell ends with a tab; neighbouring lines that have the cell share its column. Columns are at
least ten wide, three of them space.
"""

from ketch.cli.visible import visible

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Sequence

NARROWEST = 10
SPACE = 3


def render(
    header: "Sequence[str]", rows: "Sequence[Sequence[str]]", narrowest: int = NARROWEST
) -> str:
    """The table as one string with a newline at its end."""
    lines = [list(header), *[list(map(visible, row)) for row in rows]]
    return layout(lines, narrowest)


def layout(lines: "list[list[str]]", narrowest: int = NARROWEST) -> str:
    """Cells to lines; the last cell of a line has no column."""
    column = 0
    longest = max((len(cells) for cells in lines), default=0)
    for column in range(longest - 1):
        _align(lines, column, narrowest)
    return "".join("".join(cells) + "\n" for cells in lines)


def _align(lines: "list[list[str]]", column: int, narrowest: int) -> None:
    """Pad one column, block by block."""
    start = 0
    while start < len(lines):
        end = start
        while end < len(lines) and len(lines[end]) > column + 1:
            end += 1
        if end > start:
            block = lines[start:end]
            width = max(max(len(cells[column]) for cells in block) + SPACE, narrowest)
            for cells in block:
                cells[column] = cells[column].ljust(width)
        start = end + 1
