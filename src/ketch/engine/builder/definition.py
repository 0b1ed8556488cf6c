"""The first thing of a build: its Dockerfile, from wherever it comes, and what is to be done."""

from __future__ import annotations

from typing import TYPE_CHECKING

from ketch.build.lint.telling import tell_findings
from ketch.build.prepared import Prepared, prepare
from ketch.engine.builder.options import each_platform, platform_arguments

if TYPE_CHECKING:
    from ketch.build.progress.events import Report
    from ketch.engine.builder.room import BuildRoom


async def definition(room: BuildRoom) -> list[Prepared]:
    """The plan for each platform; raises what is wrong with the Dockerfile or is not there."""
    report = _begun(room)
    text = await _read(room, report)
    try:
        plans = [prepare(text, one, platform_arguments(one)) for one in each_platform(room.options)]
        tell_findings(plans[0], report)
    finally:
        report.end()
    return plans


async def loaded(room: BuildRoom) -> bytes:
    """The Dockerfile alone."""
    report = _begun(room)
    text = await _read(room, report)
    report.end()
    return text


def _begun(room: BuildRoom) -> Report:
    return room.reporting(f"[internal] {room.source.title(room.options.dockerfile)}")


async def _read(room: BuildRoom, report: Report) -> bytes:
    try:
        return await room.source.dockerfile(room.workers, room.options.dockerfile, report)
    except BaseException as error:
        report.end(error=str(error) or "canceled")
        raise
