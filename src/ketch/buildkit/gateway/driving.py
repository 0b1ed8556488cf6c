"""Who drives a build through the gateway, and what it drives."""

from __future__ import annotations

import asyncio
from typing import TYPE_CHECKING, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping

    from ketch.buildkit.gateway.holdings import Holdings
    from ketch.buildkit.jobs import Job
    from ketch.buildkit.messages.gateway import GatewaySolveRequest, Result, ReturnRequest
    from ketch.llb.messages import Definition


class Driven(Protocol):
    """What the gateway needs of the solver."""

    def held(self, job: Job) -> Holdings:
        """What a job has come to; raises ``InvalidParameter`` when it is over."""
        ...

    async def frontend(self, job: Job, request: GatewaySolveRequest, *, nested: bool) -> Result:
        """A front end for a client that drives the build, or (``nested``) for another front end."""
        ...

    async def fetch(self, job: Job, definition: Definition, *, evaluate: bool = False) -> Result:
        """What a graph comes to."""
        ...


class Driver:
    """Who drives a build: the client of a job, or a front end in a container. ``returned`` is what
    it says in the end, ``inputs`` are what it was given."""

    def __init__(
        self,
        job: Job,
        inputs: Mapping[str, Definition],
        returned: asyncio.Future[ReturnRequest] | None = None,
    ) -> None:
        self.job = job
        self.inputs = inputs
        self.is_nested = returned is None
        self.returned = returned or asyncio.get_running_loop().create_future()
