"""Events of builds on their way to the job that they belong to."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from ketch.build.dockerfile.source import DockerfileError
from ketch.build.failures import Place
from ketch.buildkit.located import Located
from ketch.engine.builder.channel import Channel

if TYPE_CHECKING:
    from ketch.buildkit.jobs import Job


@asynccontextmanager
async def told(job: Job) -> AsyncIterator[Channel]:
    """A channel whose events go to the job; a failure knows its place in the Dockerfile."""
    channel = Channel()
    telling = asyncio.create_task(_tell(job, channel))
    try:
        yield channel
    except DockerfileError as error:
        raise Located.of(error, Place(error.source, error.where)) from error
    finally:
        channel.close()
        await telling


async def _tell(job: Job, channel: Channel) -> None:
    while events := await channel.get():
        for event in events:
            await job.tell(event)
