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


def cooked_again() -> None:
    """Put back what ``Raw`` changed; for the way out by a signal."""
    import termios

    while _SAVED:
        fd, mode = _SAVED.pop()
        try:
            termios.tcsetattr(fd, termios.TCSADRAIN, mode)
        except termios.error:
            continue  # the terminal is gone


_SAVED: "list[tuple[int, Any]]" = []
FATAL = (1, 3, 15)  # SIGHUP, SIGQUIT, SIGTERM: end us while the terminal is raw


class Raw:
    """Context manager: the terminal of stdin in raw mode (termios(3), cfmakeraw).

    It is put back on every way out, a deadly signal among them.
    """

    def __enter__(self) -> "Raw":
        if not is_terminal(0):
            return self
        import termios
        import tty

        _SAVED.append((0, termios.tcgetattr(0)))
        if is_terminal(1):
            _SAVED.append((1, termios.tcgetattr(1)))
        _die_cooked()
        tty.setraw(0, termios.TCSANOW)  # what was typed ahead is for the container
        if is_terminal(1):
            mode = termios.tcgetattr(1)
            mode[1] &= ~termios.OPOST
            termios.tcsetattr(1, termios.TCSANOW, mode)
        return self

    def __exit__(
        self,
        kind: "type[BaseException] | None",
        error: "BaseException | None",
        trace: "TracebackType | None",
    ) -> None:
        if _SAVED:
            cooked_again()
            sys.stdout.flush()


def _die_cooked() -> None:
    """Signals that would end us put the terminal back first; handlers that are there stay."""
    import _signal as signal  # type: ignore[import-not-found]

    def end(number: int, _frame: object) -> None:
        cooked_again()
        signal.signal(number, signal.SIG_DFL)
        os.kill(os.getpid(), number)

    for number in FATAL:
        if signal.getsignal(number) == signal.SIG_DFL:
            signal.signal(number, end)
