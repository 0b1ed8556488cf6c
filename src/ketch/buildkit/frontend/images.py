"""Front ends that are images: ``# syntax=`` of others than docker/dockerfile, and ``gateway.v0``.

A container of the image speaks gRPC on its standard input and output: it is the client of a bridge
of its own, which solves its graphs, and at last it returns a result. Its file system is its own,
what it writes there is thrown away. Source: BuildKit's frontend/gateway.
"""

from __future__ import annotations

import asyncio
import json
import socket
from collections.abc import AsyncIterator, Mapping
from contextlib import asynccontextmanager, suppress
from typing import TYPE_CHECKING

from ketch.build.executor import RunStep, StepMount
from ketch.build.progress.events import STDOUT
from ketch.build.request.options import BuildLimits
from ketch.buildkit.gateway.bridge import Bridge
from ketch.buildkit.gateway.driving import Driver
from ketch.buildkit.graphs.files import digest_of
from ketch.buildkit.located import Returned
from ketch.buildkit.messages.gateway import Result
from ketch.buildkit.wire import ServedConnection
from ketch.buildkit.worker import worker
from ketch.engine.builder.steps.container import Program
from ketch.errors import KetchError, Unsupported
from ketch.llb.messages import Definition, Input, Op, SourceOp
from ketch.oci import image as images
from ketch.oci import reference as references

if TYPE_CHECKING:
    from ketch.build.executor import BaseImage
    from ketch.buildkit.frontend.asked import Asked
    from ketch.buildkit.gateway.driving import Driven
    from ketch.buildkit.jobs import Job, Jobs
    from ketch.engine.builder.builder import Builder
    from ketch.engine.builder.graph.build import GraphBuild
    from ketch.engine.builder.steps.container import BuildContainer
    from ketch.engine.builder.steps.process import BuildProcess
    from ketch.oci.image import RunConfig

_NO_NETWORK, _CAPS = "moby.buildkit.frontend.network.none", "moby.buildkit.frontend.caps"
_INPUTS = "moby.buildkit.frontend.inputs"
_METADATA = "/run/config/buildkit/metadata"
_TRUE = ("1", "t", "T", "true", "TRUE", "True")
_PRODUCT = "docker"
_DEEPEST = 8  # front ends that call front ends
_LAST = 2000  # bytes of what it says on its standard error


class ImageFrontends:
    """Runs them for jobs."""

    def __init__(self, solver: Driven, builder: Builder, jobs: Jobs) -> None:
        self._solver = solver
        self._builder = builder
        self._jobs = jobs
        self._running: dict[Job, int] = {}

    async def run(self, job: Job, asked: Asked) -> Result:
        """What it returns; raises the error that it returns, or how it ended without."""
        depth = self._running.get(job, 0)
        if depth >= _DEEPEST:
            raise Unsupported(f"front ends call each other deeper than {_DEEPEST}: refused")
        if f"context:{asked.image}" in asked.attrs:
            raise Unsupported("a named context in place of a front end's image is not supported")
        self._running[job] = depth + 1
        try:
            return await self._run(job, asked)
        finally:
            self._running[job] -= 1
            if not self._running[job]:
                del self._running[job]

    async def _run(self, job: Job, asked: Asked) -> Result:
        build = await self._solver.held(job).graphs.build()
        reference = str(references.parse(asked.image).tagged())
        image = await build.image(reference, f"resolve front end docker-image://{reference}")
        config = images.decode(image.config).run
        _check_caps(config, asked)
        driver = Driver(job, asked.inputs)
        step = await _step(build, image, reference, config)
        container = await build.containers.open(step)
        try:
            said = await self._talk(container, self._program(config, job, asked), driver)
        finally:
            await asyncio.shield(container.release())
        return _outcome(driver, asked.image, *said)

    async def _talk(
        self, container: BuildContainer, program: Program, driver: Driver
    ) -> tuple[int, bytes]:
        """Serve it to its end: its exit code, and the last of what it says to people."""
        methods = Bridge(self._jobs, self._solver, self._builder, driver).methods()
        ours, theirs = socket.socketpair()
        process = await container.start(program)
        async with _serving(methods, ours):
            said = await _carried(process, theirs)
            return (await process.exited()).status, said

    def _program(self, config: RunConfig, job: Job, asked: Asked) -> Program:
        known = worker(self._builder)
        workers = [
            {
                "ID": known.ID,
                "Labels": known.Labels,
                "Platforms": [
                    {"os": one.OS, "architecture": one.Architecture, "variant": one.Variant}
                    for one in known.platforms
                ],
            }
        ]
        options = [
            f"BUILDKIT_FRONTEND_OPT_{number}={name}={text}"
            for number, (name, text) in enumerate(sorted(asked.attrs.items()))
        ]
        return Program(
            argv=tuple(config.entrypoint or ("/run",)),
            env=(
                *(config.env or ()),
                *options,
                f"BUILDKIT_SESSION_ID={job.request.Session}",
                f"BUILDKIT_WORKERS={json.dumps(workers)}",
                f"BUILDKIT_EXPORTEDPRODUCT={_PRODUCT}",
            ),
            working_dir=config.working_dir or "/",
            stdin=True,
        )


def _check_caps(config: RunConfig, asked: Asked) -> None:
    """What the client asks of the front end, its image has to promise."""
    promised = set(filter(None, (config.labels or {}).get(_CAPS, "").split(",")))
    wanted = set(filter(None, asked.attrs.get("frontend.caps", "").split(",")))
    wanted |= {_INPUTS} if asked.inputs else set()
    for name in sorted(wanted - promised):
        raise Unsupported(f"unsupported frontend capability {name}")


async def _step(build: GraphBuild, image: BaseImage, reference: str, config: RunConfig) -> RunStep:
    """Its container: of its image, with the graph that brings it as metadata."""
    offline = (config.labels or {}).get(_NO_NETWORK, "") in _TRUE
    vertex = Op(source=SourceOp(identifier=f"docker-image://{reference}")).encode()
    outcome = Op(inputs=[Input(digest=digest_of(vertex))]).encode()
    metadata = Definition(ops=[vertex, outcome]).encode()
    tree = await build.inline((("frontend.bin", metadata),))
    return RunStep(
        layers=image.layers,
        argv=("/run",),
        env=(),
        user="",
        working_dir="/",
        network="none" if offline else "",
        limits=BuildLimits(),
        mounts=(StepMount(type="bind", target=_METADATA, tree=tree),),
    )


@asynccontextmanager
async def _serving(methods: Mapping[str, object], sock: socket.socket) -> AsyncIterator[None]:
    serving = asyncio.create_task(ServedConnection(methods).serve(sock, b""))  # type: ignore[arg-type]
    try:
        yield
    finally:
        serving.cancel()
        await asyncio.gather(serving, return_exceptions=True)


async def _carried(process: BuildProcess, sock: socket.socket) -> bytes:
    """Between the program's streams and the bridge, until the program closes its own."""
    reader, writer = await asyncio.open_connection(sock=sock)
    feeding = asyncio.create_task(_feed(process, reader))
    said = b""
    try:
        async for stream, data in process.output():
            if stream == STDOUT:
                with suppress(ConnectionError):
                    writer.write(data)
                    await writer.drain()
            else:
                said = (said + data)[-_LAST:]
    finally:
        feeding.cancel()
        await asyncio.gather(feeding, return_exceptions=True)
        writer.close()
    return said


async def _feed(process: BuildProcess, reader: asyncio.StreamReader) -> None:
    while data := await reader.read(1 << 16):
        await process.write(data)
    process.end_input()


def _outcome(driver: Driver, image: str, code: int, said: bytes) -> Result:
    """An error that it returned goes first, then how it ended, then its result."""
    returned = driver.returned.result() if driver.returned.done() else None
    if returned is not None and returned.error is not None and returned.error.code:
        raise Returned(returned.error)
    if code or returned is None:
        told = f"the front end {image} ended with exit code {code}"
        told += "" if code else " and returned no result"
        words = said.decode(errors="replace").strip()
        raise KetchError(f"{told}: {words}" if words else told)
    return returned.result or Result()
