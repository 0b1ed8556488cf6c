"""Output cut into lines, and lines into pieces, as Docker's log drivers see them.

A line is logged when it is complete, or in pieces of 16 KiB, or at the end of the stream without
its newline. On the shim's import path.
"""

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PIECE = 16 * 1024


class Lines:
    """Collects what comes in any portions; hands on blocks of complete lines, or one piece.

    ``emit`` gets (stream, data): whole lines with their newlines, none longer than ``PIECE``; or a
    part of a line without newline.
    """

    __slots__ = ("_emit", "_rest")

    def __init__(self, emit: "Callable[[str, bytes], object]") -> None:
        self._emit = emit
        self._rest: dict[str, bytes] = {}

    def add(self, stream: str, data: bytes) -> None:
        """What ``stream`` said next."""
        rest = self._rest.pop(stream, b"")
        if rest:
            data = rest + data
        end = data.rfind(b"\n") + 1
        if end:
            self._complete(stream, data[:end])
        rest = data[end:]
        while len(rest) >= PIECE:
            cut = character_border(rest, PIECE)
            self._emit(stream, rest[:cut])
            rest = rest[cut:]
        if rest:
            self._rest[stream] = rest

    def end(self) -> None:
        """Hand on what never got its newline."""
        rest, self._rest = self._rest, {}
        for stream, data in rest.items():
            self._emit(stream, data)

    def _complete(self, stream: str, data: bytes) -> None:
        if len(data) > PIECE and has_long_line(data):
            for piece in pieces(data):
                self._emit(stream, piece)
        else:
            self._emit(stream, data)


def has_long_line(data: bytes) -> bool:
    """Whether one of the complete lines is longer than a piece.

    Where no line is, every ``PIECE`` bytes hold a newline: looked for from the far end of each
    window, which takes a step per window and not one per line.
    """
    start = 0
    while len(data) - start > PIECE:
        newline = data.rfind(b"\n", start, start + PIECE)
        if newline < 0:
            return True
        start = newline + 1
    return False


def pieces(data: bytes) -> "Iterator[bytes]":
    """Complete lines, those longer than ``PIECE`` in pieces."""
    for line in data.split(b"\n")[:-1]:
        line += b"\n"
        while len(line) > PIECE:
            cut = character_border(line, PIECE)
            yield line[:cut]
            line = line[cut:]
        yield line


def character_border(data: bytes, limit: int) -> int:
    """The last place up to ``limit`` that does not split a UTF-8 character."""
    for cut in range(limit, limit - 4, -1):
        if cut >= len(data) or data[cut] & 0xC0 != 0x80:
            return cut
    return limit
