"""Compression beside the writer: reaped by the loop, taken back, swept."""

from __future__ import annotations

import gzip
import os
import time
from pathlib import Path

from ketch.linux.eventpoll import Loop
from ketch.runtime.log_compressor import LogCompressor


def until(loop: Loop, condition: object) -> None:
    assert callable(condition)
    deadline = time.monotonic() + 20
    while not condition():
        assert time.monotonic() < deadline
        loop.at(time.monotonic() + 0.05, bool)
        loop.turn()


def test_all_that_was_rotated_is_compressed_and_leftovers_go(tmp_path: Path) -> None:
    log = tmp_path / "x.log"
    for number in (1, 2):
        (tmp_path / f"x.log.{number}").write_bytes(b"text %d\n" % number * 1000)
    (tmp_path / "x.log.7.tmp").write_bytes(b"of one that was killed")
    loop = Loop()
    compressor = LogCompressor(loop)
    compressor.start(str(log))
    until(loop, lambda: compressor._pidfd < 0)
    assert sorted(os.listdir(tmp_path)) == ["x.log.1.gz", "x.log.2.gz"]
    assert gzip.decompress((tmp_path / "x.log.2.gz").read_bytes()) == b"text 2\n" * 1000
    compressor.start(str(log))  # nothing to do
    assert compressor._pidfd < 0
    loop.close()


def test_taken_back_it_leaves_the_file_as_it_was(tmp_path: Path) -> None:
    old = tmp_path / "x.log.1"
    old.write_bytes(os.urandom(30_000_000))
    loop = Loop()
    compressor = LogCompressor(loop)
    compressor.start(str(tmp_path / "x.log"))
    compressor.stop()
    assert os.listdir(tmp_path) in (["x.log.1"], ["x.log.1.gz"])  # it may have been quick
    compressor.stop()
    loop.close()
