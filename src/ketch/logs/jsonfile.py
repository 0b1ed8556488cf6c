"""The json-file log: what a container writes, line by line, in Docker's format.

One JSON object per line: ``{"log":"text\\n","stream":"stdout","attrs":{…},"time":"…"}``, file mode
0640; lines as ``ketch.logs.lines`` cuts them, rotation as ``ketch.logs.rotating`` does it. Bytes
that are not UTF-8 become U+FFFD. On the shim's import path.
"""

from ketch.logs.filelog import FileLog

_SHORT = {0x22: b'\\"', 0x5C: b"\\\\", 9: b"\\t", 12: b"\\f", 13: b"\\r", 8: b"\\b"}
_ESCAPES = {
    byte: _SHORT.get(byte, b"\\u%04x" % byte) for byte in (0x5C, 0x22, *range(32)) if byte != 10
}
_LONG = 4096  # bytes: then to look for 33 of them (memchr) is faster than to look at each
_HARMLESS = bytes(byte for byte in range(256) if byte not in _ESCAPES)


class JsonFileLog(FileLog):
    """See the module's docstring."""

    __slots__ = ()

    def _mend(self) -> None:
        size = self.file.size
        if size and self.file.read(size - 1, 1) != b"\n":
            self.file.put(b"\n")  # readers skip the torn record

    def _log(self, stream: str, data: bytes) -> None:
        """Complete lines, or a piece of one; all of them are quoted at once."""
        attrs = b',"attrs":%b' % self._attrs if self._attrs else b""
        time = self.clock.now().encode()
        tail = b'","stream":"%b"%b,"time":"%b"}\n' % (stream.encode(), attrs, time)
        quoted = _quote(data)
        if data.endswith(b"\n"):
            quoted = quoted[:-1].replace(b"\n", b'\\n%b{"log":"' % tail) + b"\\n"
        self._append(b'{"log":"%b%b' % (quoted, tail))

    def _append(self, records: bytes) -> None:
        """Write complete records, rotating where a file is full."""
        while records:
            room = self.file.room()
            cut = len(records) if room >= len(records) else records.find(b"\n", room - 1) + 1
            self.file.put(records[:cut])
            records = records[cut:]


def _quote(data: bytes) -> bytes:
    """The inside of a JSON string (RFC 8259, section 7), with the newlines as they are.

    By whole-buffer operations of C: the same through ``json`` takes four times as long.
    """
    if not data.isascii():
        data = data.decode("utf-8", "replace").encode()
    found = _ESCAPES if len(data) > _LONG else set(data.translate(None, _HARMLESS))
    for byte in sorted(found, key=lambda byte: byte != 0x5C):
        if byte in data:
            data = data.replace(bytes((byte,)), _ESCAPES[byte])
    return data
