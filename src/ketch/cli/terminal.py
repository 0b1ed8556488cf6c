"""The user's terminal: size, raw mode, and putting it back whatever happens."""

import os
import sys

TYPE_CHECKING = False
if TYPE_CHECKING:
    from types import TracebackType
    from typing import Any


def is_terminal(fd: int) -> bool:
    """Whether the descriptor is a terminal; False when closed."""
    try:
        return os.isatty(fd)
    except OSError:
        return False


def size() -> "tuple[int, int]":
    """(height, width) of the terminal in cells; (0, 0) when there is none."""
    for fd in (1, 0, 2):
        try:
            columns, lines = os.get_terminal_size(fd)
        except OSError:
            continue
        return lines, columns
    return 0, 0


class Raw:
    """Context manager: the terminal of stdin in raw mode (termios(3), cfmakeraw)."""

    def __init__(self) -> None:
        self._saved: list[Any] | None = None

    def __enter__(self) -> "Raw":
        if is_terminal(0):
            import termios
            import tty

            self._saved = termios.tcgetattr(0)
            tty.setraw(0)
            mode = termios.tcgetattr(1) if is_terminal(1) else None
            if mode is not None:
                mode[1] &= ~termios.OPOST
                termios.tcsetattr(1, termios.TCSANOW, mode)
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        if self._saved is not None:
            import termios

            termios.tcsetattr(0, termios.TCSADRAIN, self._saved)
            sys.stdout.flush()
