"""The file system of a build's result as a tar stream, for the client."""

from __future__ import annotations

from collections.abc import AsyncIterator, Sequence
from typing import TYPE_CHECKING, Any

from ketch.build.epoch import epoch_of
from ketch.engine.pipes import drained

if TYPE_CHECKING:
    from ketch.build.exports import Export
    from ketch.engine.builder_result import Result
    from ketch.engine.builder_room import BuildRoom

_TASK = "ketch.layers.archive:export"
_END = bytes(1024)  # of a tar without members


async def tree_stream(
    room: BuildRoom, results: Sequence[Result], export: Export
) -> AsyncIterator[bytes]:
    """All files of all platforms, in directories of their own (``linux_amd64``) if there are
    several. With SOURCE_DATE_EPOCH every file is of that time."""
    split = len(results) > 1 if export.split is None else export.split
    epoch = epoch_of(room.options.build_args)
    full = [result for result in results if result.layers]

    async def write(fd: int) -> None:
        for number, result in enumerate(full):
            args: dict[str, Any] = {"open": number + 1 < len(full)}
            if split:
                args["prefix"] = str(result.platform).replace("/", "_")
            if epoch is not None:
                args["mtime"] = epoch * 1_000_000_000
            parts = room.parts
            await parts.launcher.work(_TASK, args, [fd], parts.snapshots.view(result.layers))

    return await drained(write) if full else _nothing()


async def _nothing() -> AsyncIterator[bytes]:
    yield _END
