"""Showing how far a stream of bytes has come, on a terminal and for what takes longer."""

import os
import sys
import time

TYPE_CHECKING = False
if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator

PATIENCE = 0.5  # seconds without a bar: most transfers are over before


def counted(pieces: "Iterable[bytes]", what: str, path: str = "") -> "Iterator[bytes]":
    """Pass pieces on; with a bar on stderr when that is a terminal and it takes its time."""
    if not what or not sys.stderr.isatty():
        return iter(pieces)
    size = os.path.getsize(path) if path and os.path.isfile(path) else 0
    return _shown(pieces, what, size)


def _shown(pieces: "Iterable[bytes]", what: str, size: int) -> "Iterator[bytes]":
    began = time.monotonic()
    done = 0
    iterator = iter(pieces)
    for piece in iterator:
        yield piece
        done += len(piece)
        if time.monotonic() - began > PATIENCE:
            break
    else:
        return
    from ketch.cli import libraries

    if not libraries.has_rich():
        yield from iterator
        return
    yield from _barred(iterator, what, done, size)


def _barred(pieces: "Iterator[bytes]", what: str, done: int, size: int) -> "Iterator[bytes]":
    from rich.console import Console
    from rich.progress import (
        BarColumn,
        DownloadColumn,
        Progress,
        TextColumn,
        TimeRemainingColumn,
        TransferSpeedColumn,
    )

    columns = (
        TextColumn("{task.description}"),
        BarColumn(bar_width=40),
        DownloadColumn(),
        TransferSpeedColumn(),
        TimeRemainingColumn(),
    )
    with Progress(*columns, console=Console(file=sys.stderr), transient=True) as progress:
        task = progress.add_task(what, total=size or None, completed=done)
        for piece in pieces:
            yield piece
            progress.advance(task, len(piece))
