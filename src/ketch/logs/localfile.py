"""The ``local`` log: the driver for logs that nobody but the engine reads.

Smaller and several times cheaper than json-file. The format is ``ketch.logs.local_format``'s. On
the shim's import path.
"""

from ketch.logs import local_format
from ketch.logs.filelog import FileLog

TYPE_CHECKING = False
if TYPE_CHECKING:
    from ketch.logs.rotating import RotatingFile


class LocalLog(FileLog):
    """See the module's docstring."""

    __slots__ = ()

    def _mend(self) -> None:
        if not self._ends_whole():
            self.file.cut(_whole_part(self.file))

    def _log(self, stream: str, data: bytes) -> None:
        """Complete lines, divided where a file is full; or a piece of a line."""
        now = self.clock.now_ns()
        overhead = local_format.OVERHEAD + len(self._attrs)
        while data:
            room = self.file.room() - overhead
            cut = len(data)
            if room < cut:
                cut = data.find(b"\n", max(0, room - 1)) + 1 or len(data)
            self.file.put(local_format.encode(stream, now, self._attrs, data[:cut]))
            data = data[cut:]

    def _ends_whole(self) -> bool:
        """Whether the file ends with a record, or a power cut tore it."""
        size, foot = self.file.size, local_format.FOOT
        if not size:
            return True
        end = self.file.read(size - foot.size, foot.size) if size > foot.size else b""
        length = foot.unpack(end)[0] if len(end) == foot.size else 0
        return 0 < length <= size and local_format.is_whole(self.file.read(size - length, length))


def _whole_part(file: "RotatingFile") -> int:
    """Where the records that are whole end; read from the beginning."""
    offset = 0
    while True:
        head = file.read(offset, local_format.HEAD.size)
        if len(head) < local_format.HEAD.size:
            return offset
        length = local_format.HEAD.unpack(head)[0]
        if not local_format.OVERHEAD <= length <= file.size - offset:
            return offset
        if not local_format.is_whole(file.read(offset, length)):
            return offset
        offset += length
