"""Exec instances: further processes in a running container.

Instances are not kept across a restart of the container; a daemon that starts anew adopts those
whose shims still run.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import secrets
import struct
from signal import SIGKILL
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.containers import detach_keys, exec_user
from ketch.engine.containers import links as container_links
from ketch.engine.containers import signals as container_signals
from ketch.engine.containers.attach import attach_wire
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.exec_process import exec_wire
from ketch.engine.containers.exec_store import ExecStore
from ketch.engine.containers.exec_values import ExecRecord, ExecSpec
from ketch.engine.containers.place import hostname
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.start import prefixed
from ketch.engine.containers.start_waits import StartWaits
from ketch.engine.spec import kernel_strings
from ketch.errors import (
    Conflict,
    InvalidParameter,
    KetchError,
    NotFound,
    StartFailed,
    os_reason,
)
from ketch.runtime import exit_file
from ketch.runtime.remote import connect_shim

if TYPE_CHECKING:
    from ketch.engine.containers.parts import Parts
    from ketch.engine.tasks import Background
    from ketch.runtime.remote import Shim, Started
    from ketch.state.database import Database

_PREFIX = "OCI runtime exec failed: "
_OURS = "exec failed: unable to start container process: "
_LOST = 137  # what SIGKILL gives; the real status went with the shim
_EXIT_PATIENCE = 5.0  # seconds an inspect waits for an announced exit to be on record
_NOT_RUN = 126  # the exit code of an exec that could not begin, as with Docker
_RESIZE_PATIENCE = 10.0  # seconds a resize waits for the process to be up


class Execs:
    """See the module's docstring."""

    def __init__(self, parts: Parts, database: Database, background: Background) -> None:
        self._parts = parts
        self._background = background
        self._store = ExecStore(database)
        self._shims: dict[str, Shim] = {}
        self._watchers: dict[str, asyncio.Task[None]] = {}
        self._starts = StartWaits()

    async def create(self, ref: str, spec: ExecSpec) -> str:
        """Record a process to run in the container ``ref``; returns the exec ID.

        Raises ``NotFound``, ``Conflict`` (not running, paused), ``InvalidParameter`` (no command,
        unknown user).
        """
        container = self._parts.store.resolve(ref)
        if not spec.cmd:
            raise InvalidParameter("No exec command specified")
        kernel_strings.check_words("command", spec.cmd)
        kernel_strings.check_words("environment variable", spec.env)
        kernel_strings.check_words("working directory", (spec.working_dir,))
        detach_keys.parse(spec.detach_keys)
        _check_running(container, ref)
        await exec_user.check(container, spec.user)
        record = ExecRecord(id=secrets.token_hex(32), container_id=container.id, spec=spec)
        with self._parts.events.telling():
            self._publish(record, "exec_create")
            self._store.add(record, self._parts.store)
        return record.id

    async def check_start(self, exec_id: str) -> None:
        """Raise what ``start`` would raise, before the connection is hijacked."""
        self._startable(exec_id)

    def _startable(self, exec_id: str) -> tuple[ExecRecord, ContainerRecord]:
        record = self._store.by_id(exec_id)
        if record.running or (record.started and record.exit_code is None):
            raise Conflict(f"exec command {exec_id} is already running")
        if record.started:
            raise Conflict(f"exec command {exec_id} has already run")
        container = self._parts.store.by_id(record.container_id)
        _check_running(container, container.id)
        return record, container

    async def start(
        self,
        exec_id: str,
        attach: AttachOptions | None = None,
        console_size: tuple[int, int] = (0, 0),
    ) -> None:
        """Run it. With ``attach`` a start that fails is told as output on the socket, as Docker
        does, and does not raise; without, it raises ``StartFailed``. Returns once started; the
        socket (owned by the engine) closes at the end."""
        try:
            await self._start(exec_id, attach, console_size)
        except (KetchError, OSError) as error:
            if attach is None:
                raise
            text = os_reason(error) if isinstance(error, OSError) else str(error)
            await _tell(attach, f"{text}\r\n")
        finally:
            if attach is not None:
                attach.sock.close()

    async def _start(
        self, exec_id: str, attach: AttachOptions | None, console_size: tuple[int, int]
    ) -> None:
        record, container = self._startable(exec_id)
        record = self._begin(record, console_size)
        try:
            shim = await self._launch(record, container, attach)
        except StartFailed as error:
            self._failed(record, _NOT_RUN if error.exit_code == 128 else error.exit_code)
            prefix = _PREFIX if container.spec.runtime else _PREFIX + _OURS
            raise prefixed(prefix, error) from None
        except BaseException:
            self._failed(record, _NOT_RUN)
            raise
        self._watch_soon(record.id, shim)

    def _begin(self, record: ExecRecord, console_size: tuple[int, int]) -> ExecRecord:
        """From here on it counts as started, so that nobody starts it twice."""
        spec = record.spec
        if any(console_size):
            spec = msgspec.structs.replace(spec, console_size=console_size)
        record = msgspec.structs.replace(record, spec=spec, started=True, running=True)
        with self._parts.events.telling():
            self._publish(record, "exec_start")
            self._store.put(record)
        return record

    async def _launch(
        self, record: ExecRecord, container: ContainerRecord, attach: AttachOptions | None
    ) -> Shim:
        wire = exec_wire(
            record,
            container,
            hostname=hostname(self._parts, container),
            seccomp=self._parts.filters.of(container.spec),
            socket=self._parts.config.shim_socket(record.id),
            runtime=self._parts.runtimes.wire(container.spec.runtime),
            default_ulimits=self._parts.config.default_ulimits,
            env=container_links.environment(self._parts.store, container),
        )
        clients = [(attach.sock, attach_wire(attach))] if attach else []
        shim = await self._parts.launcher.exec(wire, clients)
        started = await shim.started()
        self._shims[record.id] = shim
        self._note(record, started)
        self._starts.over(record.id)
        return shim

    def _note(self, record: ExecRecord, started: Started) -> None:
        self._store.note(
            msgspec.structs.replace(record, pid=started.pid, started_at=started.started_at)
        )

    def _failed(self, record: ExecRecord, exit_code: int) -> None:
        with contextlib.suppress(FileNotFoundError):  # there when its supervisor was killed
            os.unlink(self._parts.config.shim_socket(record.id))
        if self._store.find(record.id) is not None:
            self._store.put(msgspec.structs.replace(record, running=False, exit_code=exit_code))
        self._starts.over(record.id)

    def _watch_soon(self, exec_id: str, shim: Shim) -> None:
        shim.on_detached = lambda: self._detached(exec_id)
        watcher = self._background.spawn(self._watch(exec_id, shim))
        self._watchers[exec_id] = watcher
        watcher.add_done_callback(lambda _: self._watchers.pop(exec_id, None))

    async def _watch(self, exec_id: str, shim: Shim) -> None:
        try:
            status = (await shim.exited()).status
        except KetchError:  # the supervisor was killed, and the process with it
            status = self._unseen(exec_id)
        self._shims.pop(exec_id, None)
        record = self._store.find(exec_id)
        if record is not None:
            record = msgspec.structs.replace(record, running=False, pid=0, exit_code=status)
            with self._parts.events.telling():
                self._publish(record, "exec_die")
                self._store.put(record)
        shim.reap()
        shim.close()

    def _unseen(self, exec_id: str) -> int:
        """The exit status of a process whose supervisor does not answer; its socket goes."""
        path = self._parts.config.shim_socket(exec_id)
        with contextlib.suppress(FileNotFoundError):
            os.unlink(path)
        status = exit_file.take(path)
        return _LOST if status is None else status

    async def resize(self, exec_id: str, height: int, width: int) -> None:
        """Set the terminal's size; before the process is up this waits for it."""
        record = self._store.by_id(exec_id)
        if exec_id not in self._shims and record.exit_code is None:
            await self._starts.wait(exec_id, _RESIZE_PATIENCE)
        shim = self._shims.get(exec_id)
        if shim is None:
            raise Conflict(f"exec {exec_id} is not running")
        if record.spec.tty:
            await shim.resize(height, width)

    async def inspect(self, exec_id: str) -> ExecRecord:
        """The record; raises ``NotFound``.

        Clients ask for the exit code as soon as the stream ends, and the end may overtake the
        announcements of start and exit on their way to us. What the shim answers now comes behind
        them.
        """
        if self._store.by_id(exec_id).running and exec_id not in self._shims:
            await self._starts.wait(exec_id, _EXIT_PATIENCE)
        shim = self._shims.get(exec_id)
        if self._store.by_id(exec_id).running and shim is not None:
            try:
                ended = (await shim.state()).get("exit") is not None
            except KetchError:
                ended = True  # and its supervisor has left
            if ended:
                await self._settled(exec_id)
        return self._store.by_id(exec_id)

    async def _settled(self, exec_id: str) -> None:
        """Until an exit that the shim has announced is on record."""
        watcher = self._watchers.get(exec_id)
        if watcher is not None:
            await asyncio.wait({watcher}, timeout=_EXIT_PATIENCE)

    async def list(self, ref: str) -> tuple[ExecRecord, ...]:
        """The instances of a container, oldest first, those that ended lately too."""
        container = self._parts.store.resolve(ref)
        return self._store.of(container.id)

    async def kill(self, ref: str, signal: str = "") -> None:
        """Signal an instance, by its ID or a prefix that only one has.

        KILL, the default, also ends what the process has started. Raises ``NotFound``,
        ``InvalidParameter``, ``Conflict`` when it does not run.
        """
        record = self._store.resolve(ref)
        number = container_signals.parse(signal or "KILL")
        shim = self._shims.get(record.id)
        if shim is None:
            raise Conflict(f"cannot kill exec {ref}: it is not running")
        try:
            await (shim.kill_tree() if number == SIGKILL else shim.signal(number))
        except NotFound:
            raise Conflict(f"cannot kill exec {ref}: it is not running") from None

    def running_in(self, container_id: str) -> tuple[str, ...]:
        """IDs of the live exec instances of a container."""
        return tuple(record.id for record in self._store.of(container_id) if record.running)

    def alive(self) -> set[str]:
        """IDs of all that run, in whichever container."""
        return {record.id for record in self._store if record.running}

    async def adopt(self) -> None:
        """After a restart of the daemon: find the shims again, forget what is over."""
        for record in self._store:
            if not record.running:
                self._store.drop(record.id)
                continue
            try:
                shim = await connect_shim(self._parts.config.shim_socket(record.id))
            except KetchError:
                status = self._unseen(record.id)
                self._store.put(
                    msgspec.structs.replace(record, running=False, pid=0, exit_code=status)
                )
                continue
            self._shims[record.id] = shim
            self._background.spawn(self._adopted(record, shim))
            self._watch_soon(record.id, shim)

    async def _adopted(self, record: ExecRecord, shim: Shim) -> None:
        """The supervisor tells first what only the daemon before knew."""
        with contextlib.suppress(KetchError):
            started = await shim.started()
            if (present := self._store.find(record.id)) is not None and present.running:
                self._note(present, started)

    def _detached(self, exec_id: str) -> None:
        record = self._store.find(exec_id)
        if record is not None:
            self._publish(record, "exec_detach")

    def _publish(self, record: ExecRecord, action: str) -> None:
        container = self._parts.store.find(record.container_id)
        if container is None:
            return
        if action == "exec_die":
            code = str(record.exit_code)
            self._parts.publish(container, action, execID=record.id, exitCode=code)
            return
        if action == "exec_detach":
            self._parts.publish(container, action, execID=record.id)
            return
        command, *rest = record.spec.cmd
        self._parts.publish(container, f"{action}: {command} {' '.join(rest)}", execID=record.id)


def _check_running(container: ContainerRecord, ref: str) -> None:
    if container.state.status is Status.PAUSED:
        raise Conflict(f"Container {ref} is paused, unpause the container before exec")
    if container.state.status is Status.RESTARTING:
        raise Conflict(f"Container {ref} is restarting, wait until the container is running")
    if not container.state.running:
        raise Conflict(f"container {container.id} is not running")


async def _tell(attach: AttachOptions, text: str) -> None:
    """Say something as the process's output; a client that went away does not matter."""
    data = text.encode()
    if attach.framed:
        data = struct.pack(">BxxxI", 1, len(data)) + data
    attach.sock.setblocking(False)
    try:
        await asyncio.get_running_loop().sock_sendall(attach.sock, data)
    except OSError:
        pass
