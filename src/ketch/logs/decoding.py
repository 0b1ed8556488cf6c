"""From the bytes of a log file to entries: one decoder per format, and where a tail begins.

A decoder is fed the portions of one file in order and keeps what is not complete yet. What is no
record (torn by a power cut, foreign) is left out.
"""

from __future__ import annotations

import os
from collections.abc import Mapping
from operator import itemgetter
from typing import NamedTuple, Protocol

import msgspec

from ketch.logs import local_format
from ketch.logs.entries import NO_ATTRS, Entry, parse_instant
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


class _Record(msgspec.Struct, gc=False):
    time: str
    log: str = ""
    stream: str = "stdout"
    attrs: dict[str, str] | None = None


_decode_record = msgspec.json.Decoder(_Record).decode
_decode_records = msgspec.json.Decoder(_Record).decode_lines
_decode_text = msgspec.json.Decoder(str).decode
_decode_attrs = msgspec.json.Decoder(dict[str, str]).decode
_LONG = 4096  # bytes: a run that is shorter is decoded record by record
_OPENING, _CLOSING = b'{"log":"', b'\\n","stream":"'


class JsonDecoder:
    """Docker's json-file.

    What a container writes at once becomes records that differ in their text only: a long run of
    them is decoded as one entry, by operations on whole buffers.
    """

    def __init__(self) -> None:
        self._rest = b""

    def feed(self, data: bytes) -> list[Entry]:
        """Entries of the records that are complete now."""
        data = self._rest + data if self._rest else data
        complete = data.rfind(b"\n") + 1
        self._rest = data[complete:]
        entries: list[Entry] = []
        position = 0
        while position < complete:
            end, tail = _run(data, position, complete)
            entry = _decoded_run(data[position:end], tail) if end else None
            if entry is not None:
                entries.append(entry)
            else:
                end = data.index(b"\n", min(position + _LONG, complete - 1)) + 1
                entries += _decoded_records(data[position:end])
            position = end
        return entries


def _run(data: bytes, position: int, complete: int) -> tuple[int, bytes]:
    """The end of a long run that begins here, and what all its lines end with; 0 when none does."""
    second = data.index(b"\n", position) + 1
    closing = data.rfind(_CLOSING, position, second)
    if closing < 0 or not data.startswith(_OPENING, position):
        return 0, b""
    tail = data[closing:second]
    end = _end_of_run(data, second, complete, tail)
    return (end, tail) if end - position > _LONG else (0, b"")


def _end_of_run(data: bytes, second: int, complete: int, tail: bytes) -> int:
    """Where the lines end that end like the one before ``second``: by ``tail``.

    They were written at once, so they follow each other: looked for in steps that grow and, once
    one has gone too far, shrink to single lines.
    """
    end, step, growing = second, _LONG, True
    while end < complete:
        following = data.find(b"\n", end + step, complete) + 1
        if following and data.endswith(tail, end, following):
            end = following
            step = 2 * step if growing else step // 2
        elif step and end > second:
            growing = False
            step //= 2
        else:
            break
    return end


def _decoded_run(run: bytes, tail: bytes) -> Entry | None:
    """A run as one entry; None if one of its records differs in more than its text.

    The texts are cut out by place, then put together again to see whether that was right: cheaper
    than looking for what stands between them.
    """
    cut = itemgetter(slice(len(_OPENING), 1 - len(tail)))
    texts = list(map(cut, run.splitlines()))
    if run != b"".join((_OPENING, (tail + _OPENING).join(texts), tail)):
        return None
    joined = b"\n".join(texts) + b"\n"
    try:
        like = _entry(_decode_record(_OPENING + tail))
        if b"\\" not in joined:
            return msgspec.structs.replace(like, data=joined, texts=texts)
        text = _decode_text(b'"' + b"\\n".join(texts) + b'\\n"')
        return msgspec.structs.replace(like, data=text.encode("utf-8", "surrogatepass"))
    except (msgspec.MsgspecError, ValueError):
        return None


def _decoded_records(lines: bytes) -> list[Entry]:
    """One entry for each record."""
    try:
        return list(map(_entry, _decode_records(lines)))
    except (msgspec.MsgspecError, ValueError):
        pass
    entries = []
    for line in lines.splitlines():
        try:
            entries.append(_entry(_decode_record(line)))
        except (msgspec.MsgspecError, ValueError):
            continue
    return entries


def _entry(record: _Record) -> Entry:
    """Raises ValueError when the time is none."""
    return Entry(
        time=parse_instant(record.time),
        stream=record.stream,
        data=record.log.encode("utf-8", "surrogatepass"),
        attrs=record.attrs or NO_ATTRS,
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
        self._attrs: tuple[bytes, Mapping[str, str]] = (b"", NO_ATTRS)

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

    def _decoded(self, attrs: bytes) -> Mapping[str, str]:
        if attrs != self._attrs[0]:
            try:
                self._attrs = (attrs, _decode_attrs(attrs))
            except msgspec.MsgspecError:
                self._attrs = (attrs, NO_ATTRS)
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
