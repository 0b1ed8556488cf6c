"""The record of the ``local`` log driver on disk, for its writer and its reader.

    length  uint32   bytes of the whole record
    kind    uint8    1 = stdout, 2 = stderr
    attrs   uint32   bytes of the attributes
    time    uint64   ns since the epoch
    lines   uint32   complete lines, or 1 for a piece of a long line
    attributes (a JSON object, or nothing), then the text as it was written
    length  uint32   again, so that a file can be read from its end

Numbers are big-endian. A record holds as many lines as the container wrote at once: that is what
makes this driver cheap to write and to read. On the shim's import path.
"""

from struct import Struct

HEAD = Struct(">IBIQI")
FOOT = Struct(">I")
OVERHEAD = HEAD.size + FOOT.size
STREAMS = {1: "stdout", 2: "stderr"}
KINDS = {name: kind for kind, name in STREAMS.items()}


def encode(stream: str, time: int, attrs: bytes, data: bytes) -> bytes:
    """One record; ``data`` is complete lines, or a piece without newline."""
    length = OVERHEAD + len(attrs) + len(data)
    lines = max(1, data.count(b"\n"))
    head = HEAD.pack(length, KINDS[stream], len(attrs), time, lines)
    return b"".join((head, attrs, data, FOOT.pack(length)))


def is_whole(record: bytes) -> bool:
    """Whether the bytes are one record from end to end."""
    if len(record) < OVERHEAD:
        return False
    length, kind, attrs, _, _ = HEAD.unpack_from(record)
    foot = FOOT.unpack_from(record, len(record) - FOOT.size)[0]
    return bool(length == len(record) == foot and kind in STREAMS and attrs <= length - OVERHEAD)
