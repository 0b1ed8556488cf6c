"""The json-file log: what a container writes, line by line, in Docker's format.

One JSON object per line: ``{"log":"text\\n","stream":"stdout","attrs":{…},"time":"…"}``, file mode
0640. A line is logged when it is complete, or in pieces of 16 KiB (Docker's copier does the same),
or at the end of the stream without its newline. Bytes that are not UTF-8 become U+FFFD.

With ``max_size`` the file is rotated to ``.1``, ``.2``… once it has that many bytes, so that at
most ``max_file`` files of ``max_size`` plus one line exist. On the shim's import path.
"""

import _json
import os
import sys

from ketch.linux import fastjson
from ketch.logs.rfc3339 import Clock

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterator

PIECE = 16 * 1024

_quote = _json.encode_basestring
_FLAGS = os.O_RDWR | os.O_CREAT | os.O_APPEND | os.O_CLOEXEC | os.O_NOFOLLOW


class JsonFileLog:
    """One writer per file; several would tear each other's rotation.

    ``max_size`` in bytes, 0 = without bounds; ``attrs`` go into every line. Raises OSError when
    the file cannot be opened. Later faults (a full disk) lose lines, never tear them, and never
    reach the container; the first is told on stderr.
    """

    __slots__ = ("_clock", "_fd", "_max_file", "_max_size", "_middle", "_path", "_rest", "_size",
                 "_told")  # fmt: skip

    def __init__(
        self, path: str, max_size: int = 0, max_file: int = 1, attrs: "dict[str, str] | None" = None
    ) -> None:
        self._path = path
        self._max_size = max_size
        self._max_file = max(1, max_file)
        self._middle = f',"attrs":{fastjson.dumps(attrs).decode()}' if attrs else ""
        self._rest: dict[str, bytes] = {}
        self._clock = Clock()
        self._told = False
        self._fd = -1
        self._size = 0
        self._open()

    def write(self, stream: str, data: bytes) -> None:
        """Log ``data`` of ``stream`` (``stdout`` or ``stderr``), cut wherever it happens to be."""
        rest = self._rest.pop(stream, b"")
        if rest:
            data = rest + data
        end = data.rfind(b"\n") + 1
        if end:
            self._append(self._lines(stream, data[:end]))
        rest = data[end:]
        while len(rest) >= PIECE:
            cut = _character_border(rest, PIECE)
            self._append(self._record(stream, rest[:cut]))
            rest = rest[cut:]
        if rest:
            self._rest[stream] = rest

    def close(self) -> None:
        """Log what never got its newline, and close."""
        for stream, rest in self._rest.items():
            self._append(self._record(stream, rest))
        self._rest = {}
        if self._fd >= 0:
            os.close(self._fd)
            self._fd = -1

    def _lines(self, stream: str, data: bytes) -> bytes:
        """The records of complete lines."""
        text = data.decode("utf-8", "replace")
        tail = f',"stream":"{stream}"{self._middle},"time":"{self._clock.now()}"}}\n'
        if len(data) > PIECE and any(len(line) >= PIECE for line in data.split(b"\n")):
            pieces = [piece.decode("utf-8", "replace") for piece in _pieces(data)]
            return "".join([f'{{"log":{_quote(piece)}{tail}' for piece in pieces]).encode()
        if "\\" in text:
            lines = text.split("\n")[:-1]
            return "".join([f'{{"log":{_quote(line)[:-1]}\\n"{tail}' for line in lines]).encode()
        # Without a backslash in it, every \n of the quoted text is a newline: one replace does all.
        border = f'\\n"{tail}{{"log":"'
        quoted = _quote(text)[1:-3].replace("\\n", border)
        return f'{{"log":"{quoted}\\n"{tail}'.encode()

    def _record(self, stream: str, data: bytes) -> bytes:
        """The record of a piece without newline."""
        text = _quote(data.decode("utf-8", "replace"))
        now = self._clock.now()
        return f'{{"log":{text},"stream":"{stream}"{self._middle},"time":"{now}"}}\n'.encode()

    def _append(self, records: bytes) -> None:
        """Write complete records, rotating where a file is full."""
        while self._max_size and self._size + len(records) > self._max_size:
            if self._size >= self._max_size:
                self._rotate()
                continue
            cut = records.find(b"\n", self._max_size - self._size - 1) + 1
            self._put(records[:cut])
            records = records[cut:]
        if records:
            self._put(records)

    def _put(self, records: bytes) -> None:
        if self._fd < 0:
            return
        try:
            written = os.write(self._fd, records)
            if written < len(records):
                written += os.write(self._fd, records[written:])
            self._size += written
        except OSError as error:
            self._complain(error)
            self._cut_back()

    def _cut_back(self) -> None:
        """Remove a record that was written in part."""
        try:
            os.ftruncate(self._fd, self._size)
        except OSError as error:
            self._complain(error)

    def _open(self) -> None:
        self._fd = os.open(self._path, _FLAGS, 0o640)
        self._size = os.fstat(self._fd).st_size
        if self._size and os.pread(self._fd, 1, self._size - 1) != b"\n":
            self._put(b"\n")  # a power cut tore the last record; readers skip it

    def _rotate(self) -> None:
        """Begin a new file; a reader keeps the old one open and finds its successor by name."""
        try:
            names = [self._path, *(f"{self._path}.{n}" for n in range(1, self._max_file))]
            for older, newer in zip(names[:0:-1], names[-2::-1], strict=True):
                _rename(newer, older)
            if self._max_file == 1:
                os.unlink(self._path)
            os.close(self._fd)
            self._fd = -1
            self._open()
        except OSError as error:
            self._complain(error)
            self._size = 0  # try again after another max_size bytes

    def _complain(self, error: OSError) -> None:
        if not self._told:
            self._told = True
            print(f"ketch: log {self._path}: {error}; lines are lost", file=sys.stderr, flush=True)


def _rename(old: str, new: str) -> None:
    try:
        os.rename(old, new)
    except FileNotFoundError:
        pass


def _pieces(data: bytes) -> "Iterator[bytes]":
    """Complete lines, those longer than ``PIECE`` in pieces."""
    for line in data.split(b"\n")[:-1]:
        line += b"\n"
        while len(line) > PIECE:
            cut = _character_border(line, PIECE)
            yield line[:cut]
            line = line[cut:]
        yield line


def _character_border(data: bytes, limit: int) -> int:
    """The last place up to ``limit`` that does not split a UTF-8 character."""
    for cut in range(limit, limit - 4, -1):
        if cut >= len(data) or data[cut] & 0xC0 != 0x80:
            return cut
    return limit
