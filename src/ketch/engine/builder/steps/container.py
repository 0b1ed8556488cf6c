"""A container in which a build's client runs programs of its own, over a state of its build.

The first program is the container's: with it end the container and the others. Nothing that is
written stays. Whoever opens a container releases it; it works only while its build's room is open.
"""

from __future__ import annotations

import asyncio
import secrets
import socket
from contextlib import AsyncExitStack
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.builder.steps.looking import Looking
from ketch.engine.builder.steps.mounts import made, offered, secret_variable
from ketch.engine.builder.steps.process import BuildProcess
from ketch.engine.builder.steps.sandbox import Sandbox, attach_of, spec_of
from ketch.engine.containers.exec_process import exec_wire
from ketch.engine.containers.exec_values import ExecRecord, ExecSpec
from ketch.engine.emulation import check_runs
from ketch.engine.spec import validate as spec_validate
from ketch.errors import Conflict, Forbidden, InvalidParameter, NotFound

if TYPE_CHECKING:
    from ketch.build.executor import RunStep
    from ketch.engine.builder.cache.mount_transfer import MountTransfer
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.files import StepFiles
    from ketch.engine.builder.steps.mounts import Made


class Program(msgspec.Struct, frozen=True, kw_only=True):
    """What to run. ``secrets`` become variables: ID, name, whether it may be missing; ``stdin``
    without it reads nothing; ``insecure`` as in ``RUN --security``."""

    argv: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = "/"
    tty: bool = False
    stdin: bool = False
    insecure: bool = False
    secrets: tuple[tuple[str, str, bool], ...] = ()


class Containers:
    """Opens the containers of one build; ``looking`` shows their files."""

    def __init__(
        self,
        room: BuildRoom,
        files: StepFiles,
        transfer: MountTransfer,
        facts: spec_validate.Facts,
    ) -> None:
        self._room = room
        self._files = files
        self._transfer = transfer
        self._facts = facts
        self.looking = Looking(room)

    async def open(self, step: RunStep, *, read_only: bool = False) -> BuildContainer:
        """A container over a step's layers with its mounts, network, host name and hosts; nothing
        runs in it yet. ``read_only`` is about its root.

        Raises ``Forbidden`` for a network that the build was not granted, ``NotFound`` for a
        secret that is not there, ``InvalidParameter``, ``Unsupported``.
        """
        check_runs(step.platform)
        self._granted("network.host", wanted=step.network == "host")
        spec_validate.validate(spec_of(step), self._facts)
        self.hold(step.layers)
        offers = self._room.offers
        there = [mount for mount in step.mounts if await offered(offers, mount)]
        step = msgspec.structs.replace(step, mounts=tuple(there))
        async with AsyncExitStack() as stack:
            making = made(self._room, self._files, self._transfer, step)
            mounts = await stack.enter_async_context(making)
            return BuildContainer(self, self._room, step, mounts, stack.pop_all(), read_only)

    def hold(self, layers: tuple[str, ...]) -> None:
        """Keep layers while this is open; raises ``NotFound`` when one is not here."""
        self._room.hold(layers)
        if not all(map(self._room.parts.snapshots.has_layer, layers)):
            raise NotFound("the layers of that result are not here any more: build it again")

    async def keep(self, kept: str) -> str:
        """What a step changed that failed (``RunOutcome.kept``), as a layer; "" when it changed
        nothing."""
        return await self._room.ingest(kept, self._room.kept[kept])

    def check(self, program: Program) -> None:
        """Raise ``InvalidParameter`` or ``Forbidden`` for what no container can run."""
        if not program.argv or not program.argv[0]:
            raise InvalidParameter("no program is named")
        words = (*program.argv, *program.env, program.user, program.working_dir)
        if any("\0" in word for word in words):
            raise InvalidParameter("a program's words and variables hold no NUL bytes")
        self._granted("security.insecure", wanted=program.insecure)

    def _granted(self, entitlement: str, *, wanted: bool) -> None:
        if wanted and entitlement not in self._room.options.allow:
            raise Forbidden(f"{entitlement} is not allowed: build with --allow {entitlement}")


class BuildContainer:
    """See the module's docstring."""

    def __init__(
        self,
        containers: Containers,
        room: BuildRoom,
        step: RunStep,
        mounts: Made,
        stack: AsyncExitStack,
        read_only: bool,
    ) -> None:
        self._containers = containers
        self._room = room
        self._step = step
        self._mounts = mounts
        self._stack = stack
        self._read_only = read_only
        self._sandbox: Sandbox | None = None
        self._first: BuildProcess | None = None
        self._others: set[BuildProcess] = set()
        self._starting = asyncio.Lock()
        self._released = False

    async def start(self, program: Program) -> BuildProcess:
        """Run a program, which may be the first one.

        Raises ``StartFailed``, ``Conflict`` when the first one has ended or did not start or the
        container was released, ``NotFound`` for a missing secret.
        """
        self._containers.check(program)
        program = await self._with_secrets(program)
        async with self._starting:
            if self._released:
                raise Conflict("the container was released")
            if self._sandbox is None:
                self._first = await self._begin(program)
                return self._first
        if self._first is None or self._first.ended:
            raise Conflict("the container has ended: its first program is over")
        return await self._another(program, self._sandbox)

    async def _with_secrets(self, program: Program) -> Program:
        env = list(program.env)
        for id, name, optional in program.secrets:
            env += await secret_variable(self._room.offers, id, name, optional=optional)
        return msgspec.structs.replace(program, env=tuple(env))

    async def _begin(self, program: Program) -> BuildProcess:
        step = msgspec.structs.replace(
            self._step,
            argv=program.argv,
            env=program.env,
            user=program.user,
            working_dir=program.working_dir or "/",
            insecure=program.insecure,
        )
        spec = msgspec.structs.replace(
            spec_of(step),
            tty=program.tty,
            open_stdin=program.stdin,
            stdin_once=True,
            read_only_rootfs=self._read_only,
        )
        self._sandbox = Sandbox(self._room, step, self._mounts, spec)
        sock = await self._sandbox.start()
        return BuildProcess(sock, self._sandbox.shim, framed=not program.tty)

    async def _another(self, program: Program, sandbox: Sandbox) -> BuildProcess:
        parts = self._room.parts
        asked = ExecSpec(
            cmd=program.argv,
            env=program.env,
            user=program.user,
            working_dir=program.working_dir or "/",
            tty=program.tty,
            privileged=program.insecure,
            attach_stdin=program.stdin,
        )
        record = ExecRecord(id=secrets.token_hex(32), container_id=sandbox.id, spec=asked)
        of_its_own = msgspec.structs.replace(
            sandbox.record.spec, env=("HOSTNAME",), user="", working_dir=""
        )
        wire = exec_wire(
            record,
            msgspec.structs.replace(sandbox.record, spec=of_its_own),
            hostname=of_its_own.hostname,
            seccomp=parts.filters.of(sandbox.record.spec),
            socket=parts.config.shim_socket(record.id),
        )
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                clients = [(theirs, attach_of(theirs, stdin=program.stdin, tty=program.tty))]
                shim = await parts.launcher.exec(wire, clients)
                try:
                    await shim.started()
                except BaseException:
                    shim.close()
                    raise
        except BaseException:
            ours.close()
            raise
        ours.setblocking(False)
        process = BuildProcess(ours, shim, framed=not program.tty, tree=True)
        self._others.add(process)
        if self._released:
            await process.end()
            raise Conflict("the container was released")
        return process

    async def release(self) -> None:
        """Kill what runs in it and take everything away; a second call does nothing."""
        if self._released:
            return
        self._released = True
        async with self._starting:
            for process in (*self._others, *([self._first] if self._first else ())):
                await process.end()
            try:
                if self._sandbox is not None:
                    await self._sandbox.retire()
            finally:
                await self._stack.aclose()
