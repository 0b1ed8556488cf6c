"""What the drivers with files of their own have in common. On the shim's import path."""

from ketch.linux import fastjson
from ketch.logs.lines import Lines
from ketch.logs.rfc3339 import Clock
from ketch.logs.rotating import RotatingFile

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Callable


class FileLog:
    """A log that is written to at once: it never holds anybody back.

    ``attrs`` go with every line; the bounds are those of ``RotatingFile``, as are the faults.
    """

    __slots__ = ("_attrs", "_lines", "clock", "file")

    full = False
    pending = False

    def __init__(
        self, path: str, max_size: int = 0, max_file: int = 1, attrs: "dict[str, str] | None" = None
    ) -> None:
        self._attrs = fastjson.dumps(attrs) if attrs else b""
        self._lines = Lines(self._log)
        self.clock = Clock()
        self.file = RotatingFile(path, max_size, max_file)
        self._mend()

    def write(self, stream: str, data: bytes) -> None:
        """Log ``data`` of ``stream`` (``stdout`` or ``stderr``), cut wherever it happens to be."""
        self._lines.add(stream, data)

    def close(self) -> None:
        """Log what never got its newline, and close."""
        self._lines.end()
        self.file.close()

    def when_room(self, call: "Callable[[], object]") -> None:
        """Nobody ever has to wait."""

    def abandon(self) -> None:
        """Nothing ever waits."""

    def _mend(self) -> None:
        """Make good what a power cut left at the end of the file."""
        raise NotImplementedError

    def _log(self, stream: str, data: bytes) -> None:
        """Complete lines, or a piece of one."""
        raise NotImplementedError
