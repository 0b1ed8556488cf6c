"""From the bytes of a log file to entries: one decoder per format, and where a tail begins.

A decoder is fed the portions of one file in order and keeps what is not complete yet. What is no
record (torn by a power cut, foreign) is left out.
"""

from __future__ import annotations

import os
from typing import NamedTuple, Protocol

import msgspec

from ketch.logs import local_format
from ketch.logs.entries import Entry, parse_instant
from ketch.logs.files import CHUNK, LogFile


class Tail(NamedTuple):
    """Where to read on from: an offset, lines to leave out there, and how many lines follow."""

    offset: int
    skipped: int
    lines: int


class Decoder(Protocol):
    """See the module's docstring."""

    def feed(self, data: bytes) -> list[Entry]:
        """Entries that are complete now."""


class Format(Protocol):
    """What a driver's files look like."""

    def decoder(self) -> Decoder:
        """For one file."""

    def tail(self, file: LogFile, count: int) -> Tail:
        """The last ``count`` lines of a file, or as many as it has."""


class _Record(msgspec.Struct):
    time: str
    log: str = ""
    stream: str = "stdout"
    attrs: dict[str, str] = {}


_decode_record = msgspec.json.Decoder(_Record).decode
_decode_text = msgspec.json.Decoder(str).decode
_decode_attrs = msgspec.json.Decoder(dict[str, str]).decode
_OPENING, _CLOSING = b'{"log":"', b'\\n","stream":"'


class JsonDecoder:
    """Docker's json-file.

    What a container writes at once becomes records that differ in their text only: such a run is
    decoded as one entry, by operations on whole buffers.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Entry]:
        """Entries of the records that are complete now."""
        *records, self._rest = (self._rest + data).split(b"\n")
        entries: list[Entry] = []
        position = 0
        while position < len(records):
            first = records[position]
            end = _end_of_run(records, position)
            entry = _entry(first)
            run = records[position:end]
            text = _text(run, len(first) - first.rfind(_CLOSING)) if len(run) > 1 else None
            if entry is not None and text is not None:
                entries.append(msgspec.structs.replace(entry, data=text))
            else:
                entries += [entry for entry in map(_entry, run) if entry is not None]
            position = end
        return entries


def _end_of_run(records: list[bytes], start: int) -> int:
    """The index behind the complete lines that end like the first one."""
    first, end = records[start], start + 1
    closing = first.rfind(_CLOSING)
    if closing < 0 or not first.startswith(_OPENING):
        return end
    tail = first[closing:]
    count, length = len(records), -len(tail)
    while end < count and records[end][length:] == tail:
        end += 1
    return end


def _text(run: list[bytes], tail: int) -> bytes | None:
    """The lines of a run, whose records end with the same ``tail`` bytes; None if damaged."""
    texts = [record[len(_OPENING) : -tail] for record in run]
    joined = b"\n".join(texts)
    if b"\\" not in joined:
        return joined + b"\n"
    try:
        text = _decode_text(b'"' + b"\\n".join(texts) + b'\\n"')
    except msgspec.MsgspecError:
        return None
    return text.encode("utf-8", "surrogatepass")


def _entry(line: bytes) -> Entry | None:
    try:
        record = _decode_record(line)
        instant = parse_instant(record.time)
    except (msgspec.MsgspecError, ValueError):
        return None
    return Entry(
        time=instant,
        stream=record.stream,
        data=record.log.encode("utf-8", "surrogatepass"),
        attrs=record.attrs,
    )


class JsonFormat:
    """See ``ketch.logs.jsonfile``."""

    def decoder(self) -> Decoder:
        """For one file."""
        return JsonDecoder()

    def tail(self, file: LogFile, count: int) -> Tail:
        """A record is a line of the file; it ends with its newline."""
        return _last_lines(file.fd, count) if not file.compressed else _counted(file, count)


def _counted(file: LogFile, count: int) -> Tail:
    lines = sum(data.count(b"\n") for data in file.contents())
    return Tail(0, max(0, lines - count), min(lines, count))


def _last_lines(fd: int, count: int) -> Tail:
    position = os.fstat(fd).st_size
    if count <= 0:
        return Tail(position, 0, 0)
    seen = -1  # the newline that ends the last line starts nothing
    while position > 0:
        size = min(CHUNK, position)
        position -= size
        block = os.pread(fd, size, position)
        newlines = block.count(b"\n")
        if seen + newlines < count:
            seen += newlines
            continue
        index = len(block)
        while seen < count:
            index = block.rindex(b"\n", 0, index)
            seen += 1
        return Tail(position + index + 1, 0, count)
    return Tail(0, 0, max(0, seen + 1))


_LONGEST = 16 << 20


class LocalDecoder:
    """The ``local`` driver's records."""

    def __init__(self) -> None:
        self._rest = b""
        self._attrs: tuple[bytes, dict[str, str]] = (b"", {})

    def feed(self, data: bytes) -> list[Entry]:
        """A record whose length makes no sense ends the file: nothing behind it can be found."""
        data = self._rest + data if self._rest else data
        entries: list[Entry] = []
        position, head = 0, local_format.HEAD
        while len(data) - position >= head.size:
            length, kind, attrs, instant, _ = head.unpack_from(data, position)
            if kind not in local_format.STREAMS or not (
                local_format.OVERHEAD + attrs <= length <= _LONGEST
            ):
                position = len(data)
                break
            if len(data) - position < length:
                break
            text = position + head.size + attrs
            entries.append(
                Entry(
                    time=instant,
                    stream=local_format.STREAMS[kind],
                    data=data[text : position + length - local_format.FOOT.size],
                    attrs=self._decoded(data[position + head.size : text]),
                )
            )
            position += length
        self._rest = data[position:]
        return entries

    def _decoded(self, attrs: bytes) -> dict[str, str]:
        if attrs != self._attrs[0]:
            try:
                self._attrs = (attrs, _decode_attrs(attrs))
            except msgspec.MsgspecError:
                self._attrs = (attrs, {})
        return self._attrs[1]


class LocalFormat:
    """See ``ketch.logs.local_format``."""

    def decoder(self) -> Decoder:
        """For one file."""
        return LocalDecoder()

    def tail(self, file: LogFile, count: int) -> Tail:
        """Records say how many lines they hold, and are found from the end by their lengths."""
        if file.compressed:
            decoder = LocalDecoder()
            found = [len(e.lines()) for data in file.contents() for e in decoder.feed(data)]
            return Tail(0, max(0, sum(found) - count), min(sum(found), count))
        return _last_records(file.fd, count)


def _last_records(fd: int, count: int) -> Tail:
    position, seen = os.fstat(fd).st_size, 0
    head, foot = local_format.HEAD, local_format.FOOT
    while position > 0 and seen < count:
        end = os.pread(fd, foot.size, max(0, position - foot.size))
        length = foot.unpack(end)[0] if len(end) == foot.size else 0
        start = position - length
        if not local_format.OVERHEAD <= length <= position:
            break
        found, _, _, _, lines = head.unpack(os.pread(fd, head.size, start))
        if found != length:
            break
        position, seen = start, seen + lines
    return Tail(position, max(0, seen - count), min(seen, count))


FORMATS: dict[str, Format] = {"json-file": JsonFormat(), "local": LocalFormat()}
