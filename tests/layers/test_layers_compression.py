"""Every compression that images come in, judged by other programs; bombs and broken streams."""

from __future__ import annotations

import bz2
import gzip
import io
import lzma
import os
import subprocess

import pytest
import zstandard

from ketch.errors import DataCorrupt, InvalidParameter, Unsupported
from ketch.layers.compression import compress, decompressed, detect

DATA = os.urandom(100_000) + b"text " * 1_000_000
PACKERS = {
    "gzip": gzip.compress,
    "zstd": zstandard.compress,
    "bzip2": bz2.compress,
    "xz": lzma.compress,
    "none": bytes,
}


def unpack(packed: bytes, limit: int = 0) -> bytes:
    stream = decompressed(io.BytesIO(packed), limit=limit)
    pieces = []
    while piece := stream.read(1 << 16):
        pieces.append(piece)
    return b"".join(pieces)


@pytest.mark.parametrize("kind", PACKERS)
def test_all_kinds_are_detected_and_read(kind):
    packed = PACKERS[kind](DATA)
    assert detect(packed[:6]) == kind
    assert unpack(packed) == DATA
    if kind != "none":
        assert unpack(packed + PACKERS[kind](b"second")) == DATA + b"second"


@pytest.mark.parametrize("kind", ["gzip", "bzip2", "xz"])
def test_truncated_streams_are_corrupt(kind):
    with pytest.raises(DataCorrupt, match=kind):
        unpack(PACKERS[kind](DATA)[:-20])


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
def test_garbage_behind_a_magic_is_corrupt(kind):
    with pytest.raises(DataCorrupt):
        unpack(PACKERS[kind](DATA)[:6] + b"garbage" * 1000)


@pytest.mark.parametrize("kind", ["gzip", "zstd", "bzip2", "xz"])
def test_bombs_stop_at_the_limit(kind):
    with pytest.raises(InvalidParameter, match="limit"):
        unpack(PACKERS[kind](bytes(50_000_000)), limit=10_000_000)
    assert len(unpack(PACKERS[kind](bytes(1000)), limit=1000)) == 1000


@pytest.mark.parametrize(("kind", "program"), [("gzip", ["gzip", "-dc"]), ("none", ["cat"])])
def test_packing_is_repeatable_and_read_by_others(kind, program):
    results = set()
    for chunk in (1000, 1 << 20):
        out = io.BytesIO()
        compress(io.BufferedReader(io.BytesIO(DATA), chunk), out, kind)
        results.add(out.getvalue())
    [packed] = results
    unpacked = subprocess.run(program, input=packed, capture_output=True, check=True).stdout
    assert unpacked == DATA


def test_zstd_packing():
    out = io.BytesIO()
    compress(io.BytesIO(DATA), out, "zstd")
    assert zstandard.ZstdDecompressor().decompressobj().decompress(out.getvalue()) == DATA
    with pytest.raises(Unsupported):
        compress(io.BytesIO(DATA), out, "lzma")
