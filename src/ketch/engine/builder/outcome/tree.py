"""The file system of a build's result as a tar stream, for the client."""

from __future__ import annotations

import asyncio
import stat
import time
from collections.abc import AsyncIterator, Mapping, Sequence
from typing import TYPE_CHECKING, Any

import msgspec

from ketch.build.request.epoch import epoch_of
from ketch.engine.builder.outcome.documents import Predicate, statement
from ketch.engine.pipes import drained
from ketch.errors import InvalidParameter
from ketch.layers.entry import Entry
from ketch.layers.streams import write_all
from ketch.layers.tarwrite import BLOCK, headers

if TYPE_CHECKING:
    from ketch.build.request.exports import Export
    from ketch.engine.builder.outcome.result import Result
    from ketch.engine.builder.room import BuildRoom

_TASK = "ketch.layers.archive:export"
_END = bytes(1024)  # of a tar without members


async def tree_stream(
    room: BuildRoom,
    results: Sequence[Result],
    export: Export,
    attested: Sequence[Sequence[Predicate]] = (),
) -> AsyncIterator[bytes]:
    """All files of all platforms, in directories of their own (``linux_amd64``) if there are
    several, and beside them what is ``attested`` of each. With SOURCE_DATE_EPOCH every file is of
    that time."""
    split = len(results) > 1 if export.split is None else export.split
    epoch = epoch_of(room.options.build_args)
    full = [result for result in results if result.layers]
    beside = await _beside(room, results, export, attested, split=split)
    mtime = time.time_ns() if epoch is None else epoch * 1_000_000_000

    async def write(fd: int) -> None:
        for number, result in enumerate(full):
            args: dict[str, Any] = {"open": bool(beside) or number + 1 < len(full)}
            if split:
                args["prefix"] = _folder(result)
            if epoch is not None:
                args["mtime"] = mtime
            parts = room.parts
            await parts.launcher.work(_TASK, args, [fd], parts.snapshots.view(result.layers))
        if beside:
            await asyncio.to_thread(write_all, fd, _members(beside, mtime))

    return await drained(write) if full or beside else _nothing()


def _folder(result: Result) -> str:
    return str(result.platform).replace("/", "_")


async def _beside(
    room: BuildRoom,
    results: Sequence[Result],
    export: Export,
    attested: Sequence[Sequence[Predicate]],
    *,
    split: bool,
) -> dict[str, bytes]:
    """Attestations as files, about every file of the tree that they are of. The names are
    BuildKit's; without a directory for each platform they name the platform."""
    found: dict[str, bytes] = {}
    for result, predicates in zip(results, attested, strict=False):
        subjects = await _subjects(room, result) if predicates else []
        for predicate in predicates:
            name = export.attestation_prefix + predicate.file
            if split:
                name = f"{_folder(result)}/{name}"
            elif len(results) > 1:
                stem, _, suffix = name.rpartition(".")
                name = f"{stem}.{_folder(result)}.{suffix}"
            if name in found:
                raise InvalidParameter(f"two attestations have the file name {name}")
            found[name] = msgspec.json.format(statement(subjects, predicate), indent=2)
    return found


async def _subjects(room: BuildRoom, result: Result) -> list[tuple[str, str]]:
    if not result.layers:
        return []
    view = room.parts.snapshots.view(result.layers)
    told = await room.parts.launcher.work("ketch.build.tasks.attest:files", {}, [], view)
    return [(path, digest) for path, digest in told["files"]]


def _members(files: Mapping[str, bytes], mtime: int) -> bytes:
    """The end of an archive."""
    pieces = []
    for name, data in files.items():
        entry = Entry(name.encode(), stat.S_IFREG | 0o644)
        entry.size, entry.mtime = len(data), mtime
        pieces += [headers(entry), data, bytes(-len(data) % BLOCK)]
    return b"".join((*pieces, _END))


async def _nothing() -> AsyncIterator[bytes]:
    yield _END
