"""Starting containers: the way that must be quick.

No thread, no subprocess, no await that waits for anything but the launcher and the shim. State is
written once, when the process runs; a daemon that dies before that finds the shim at its socket and
adopts it (``recovery``).
"""

from __future__ import annotations

import asyncio
import errno
import os
import signal
import time
from contextlib import suppress
from typing import TYPE_CHECKING

from ketch.engine import emulation
from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers import events as container_events
from ketch.engine.containers import links as container_links
from ketch.engine.containers import log_reach
from ketch.engine.containers.attach import attach_wire
from ketch.engine.containers.change import with_pending
from ketch.engine.containers.health import is_probed
from ketch.engine.containers.health_values import Health
from ketch.engine.containers.mounts import image_points
from ketch.engine.containers.place import place
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.engine.containers.volumes import fill_volumes
from ketch.engine.spec import cdi, device_requests
from ketch.engine.spec.external import external_config
from ketch.engine.spec.oci import oci_config
from ketch.engine.spec.start import Launch, start_wire
from ketch.errors import (
    Conflict,
    DataCorrupt,
    KetchError,
    NotFound,
    NotModified,
    StartFailed,
    Unavailable,
    os_reason,
)
from ketch.linux.process import start_time
from ketch.linux.seccomp import FLAG_LOG

if TYPE_CHECKING:
    from ketch.engine.containers.exit import Supervisor
    from ketch.engine.containers.live import Live
    from ketch.engine.containers.parts import Parts
    from ketch.engine.containers.pool import Member
    from ketch.engine.containers.remove import Remover
    from ketch.engine.networks.networks import Connection
    from ketch.runtime.remote import Shim, Started

_NO_DEVICES = cdi.Edits()
_PREFIX = (
    "failed to create task for container: failed to create shim task: OCI runtime create failed: "
)
_END_PATIENCE = 10.0  # seconds for a process that is killed at once
_OURS = "runc create failed: unable to start container process: error during container init: "


class Starter:
    """See the module's docstring."""

    def __init__(self, parts: Parts, supervisor: Supervisor, remover: Remover) -> None:
        self._parts = parts
        self._supervisor = supervisor
        self._remover = remover

    async def start(self, ref: str, *, watched: bool = False) -> None:
        """Start for a user; raises ``NotModified``, ``Conflict``, ``StartFailed``.

        With ``watched`` the kernel writes down which system calls are denied, in this run.
        """
        async with self._parts.store.locked(ref) as record:
            live = self._parts.live[record.id]
            live.watched_since = time.time_ns() if watched else 0
            live.cancel_restart()
            live.backoff = 0.0  # a policy begins anew with its delays, as with Docker
            await self._start(record, by_policy=False)

    async def start_again(self, container_id: str) -> None:
        """Start for a restart policy."""
        async with self._parts.store.locked(container_id) as record:
            if record.state.status is not Status.RESTARTING:
                raise NotModified(f"container {container_id} is no longer restarting")
            self._parts.live[record.id].watched_since = 0
            await self._start(record, by_policy=True)

    async def _start(self, record: ContainerRecord, *, by_policy: bool) -> None:
        _check_state(record)
        if record.pending is not None:
            record = self._parts.store.put(with_pending(record))
        live = self._parts.live[record.id]
        await live.released()
        try:
            await log_reach.check(record)
            shim, started, connection = await self._run(record, live)
        except KetchError as error:
            await self._failed(record, error)
            raise
        except OSError as error:
            await self._failed(record, KetchError(os_reason(error)))
            raise KetchError(f"cannot start container {record.id}: {os_reason(error)}") from error
        try:
            with self._parts.events.telling():
                container_events.mounted(self._parts.events, record)
                self._parts.publish(record, "start")
                self._record(record, started, connection, by_policy=by_policy)
        except KetchError as error:
            await self._end_unrecorded(record, shim)
            await self._failed(record, error)
            raise
        live.started(shim)
        self._supervisor.watch(record.id, shim)
        container_links.refresh(self._parts.store, self._parts.store.by_id(record.id))
        self._parts.pool.stir()
        if connection.ports:
            await self._parts.networks.carry_ports(record.id, shim, anew=True)

    async def _end_unrecorded(self, record: ContainerRecord, shim: Shim) -> None:
        """It runs, but that could not be written down: nobody would look after it."""
        with suppress(KetchError, TimeoutError):
            async with asyncio.timeout(_END_PATIENCE):
                await shim.signal(signal.SIGKILL)
                await shim.exited()
        shim.reap()
        shim.close()
        await self._parts.networks.disconnect(record.id, tell=True)
        await self._parts.volumes.mounts.release(record.id)

    async def _run(self, record: ContainerRecord, live: Live) -> tuple[Shim, Started, Connection]:
        """Network, then process; what was made is taken back when a later step fails."""
        member = self._parts.pool.take(record.spec)
        connection = await self._connect(record, member)
        try:
            mounted = await self._parts.volumes.mounts.hold(record.id, record.mount_points)
            if mounted:  # what was copied up at create may have been in memory
                await fill_volumes(self._parts, record, mounted)
            shim, started = await self._launch(record, live, member, connection)
        except BaseException:
            if member is not None:  # perhaps still parked: its address is about to be free
                await asyncio.shield(self._parts.launcher.drop_warm([member.id]))
            await self._parts.networks.disconnect(record.id, tell=True)
            await self._parts.volumes.mounts.release(record.id)
            raise
        return shim, started, connection

    async def _connect(self, record: ContainerRecord, member: Member | None) -> Connection:
        try:
            return await self._parts.networks.connect(record, member.lease if member else None)
        except KetchError as error:
            if member is not None:
                await self._parts.pool.discard(member)
            raise type(error)(f"failed to set up container networking: {error}") from None
        except BaseException:
            if member is not None:
                await self._parts.pool.discard(member)
            raise

    async def _launch(
        self, record: ContainerRecord, live: Live, member: Member | None, connection: Connection
    ) -> tuple[Shim, Started]:
        """Hand everything to the launcher and wait until the process runs."""
        launch = self._planned(record, member, connection)
        clients = live.take_waiting()
        try:
            wire = start_wire(record, launch)
            if live.watched_since:
                wire["seccomp_flags"] = FLAG_LOG
            shim = await self._parts.launcher.start(
                wire,
                [(client.sock, attach_wire(client)) for client in clients],
            )
            started = await shim.started()
            await self._parts.pool.used(member, shim)
            return shim, started
        except StartFailed as error:
            error = self._explained(record, error)
            raise prefixed(_PREFIX if launch.runtime else _PREFIX + _OURS, error) from None
        except Unavailable:  # there is no supervisor that would do it
            for name in (record.id, launch.warm):
                await asyncio.to_thread(container_cgroup.sweep, launch.cgroup_parent, name)
            raise
        finally:
            for client in clients:
                client.sock.close()

    def _planned(
        self, record: ContainerRecord, member: Member | None, connection: Connection
    ) -> Launch:
        """What the launcher is told besides the record; raises what is wrong with it."""
        parent = record.spec.cgroup_parent or self._parts.config.cgroup_parent
        parent = container_cgroup.absolute(parent)
        if record.spec.resources.cpu_rt_runtime:
            container_cgroup.share_realtime(parent, *self._parts.config.cpu_realtime)
        where = place(self._parts, record, f"{parent}/{record.id}", connection.endpoints)
        runtime = self._parts.runtimes.wire(record.spec.runtime)
        devices = self._requested(record)
        config, seccomp = oci_config(record, where), ""
        if record.spec.resources.device_requests:
            config = device_requests.injected(config, devices, external=runtime is not None)
        if runtime is None:
            seccomp = self._parts.filters.of(record.spec)
        else:
            config = external_config(config, self._parts.filters.profile(record.spec))
        return Launch(
            config=config,
            runtime=runtime,
            rootfs=self._parts.snapshots.rootfs(record.id),
            socket=self._parts.config.shim_socket(record.id),
            cgroup_parent=parent,
            seccomp=seccomp,
            warm=member.id if member else "",
            init=self._parts.config.init if record.spec.init is None else record.spec.init,
            groups=tuple(map(str, devices.additional_gids)),
            link=connection.link,
            images=tuple(
                self._parts.snapshots.view(point.layers)
                for point in image_points(record.mount_points)
            ),
        )

    def _explained(self, record: ContainerRecord, error: StartFailed) -> StartFailed:
        """What the kernel has no words for: a program of another machine's."""
        if not str(error).endswith(os.strerror(errno.ENOEXEC).lower()):
            return error
        try:
            platform = self._parts.images.config(record.image_id).platform
        except (NotFound, DataCorrupt):
            return error
        reason = emulation.lacking(platform)
        return StartFailed(f"{error}: {reason}", error.exit_code) if reason else error

    def _requested(self, record: ContainerRecord) -> cdi.Edits:
        requests = record.spec.resources.device_requests
        if not requests:
            return _NO_DEVICES
        return device_requests.edits(requests, self._parts.config.cdi_spec_dirs)

    def _record(
        self, record: ContainerRecord, started: Started, connection: Connection, *, by_policy: bool
    ) -> None:
        self._parts.store.set_state(
            record.id,
            durable=record.spec.restart.name not in ("", "no"),  # else a power cut ends it for good
            status=Status.RUNNING,
            pid=started.pid,
            pid_start_time=start_time(started.pid),
            started_at=started.started_at,
            exit_code=0,
            error="",
            oom_killed=False,
            restart_count=record.state.restart_count if by_policy else 0,
            stopped_by_user=False,
            cgroup=started.cgroup,
            endpoints=connection.endpoints,
            network_ids={end.network: end.network_id for end in connection.endpoints},
            ports=connection.ports,
            health=Health() if is_probed(record.spec.healthcheck) else None,
            last_signal=None,
            exit_signal=0,
            unsupervised=False,
            out_of_memory=None,
            watched_since=self._parts.live[record.id].watched_since,
            denied=(),
        )

    async def _failed(self, record: ContainerRecord, error: KetchError) -> None:
        """Remember why; a container with --rm is gone for good."""
        code = error.exit_code if isinstance(error, StartFailed) else 128
        status = Status.EXITED if record.state.started_at else Status.CREATED
        self._parts.store.set_state(record.id, status=status, exit_code=code, error=str(error))
        self._parts.live[record.id].drop_waiting()
        if record.spec.auto_remove:
            await self._remover.vanish(record.id)


def prefixed(prefix: str, error: StartFailed) -> StartFailed:
    """The failure in the words that Docker's clients match on; users it names by itself."""
    text = str(error)
    return StartFailed(
        text if text.startswith("unable to find ") else prefix + text, error.exit_code
    )


def _check_state(record: ContainerRecord) -> None:
    status = record.state.status
    if status is Status.PAUSED:
        raise Conflict("cannot start a paused container, try unpause instead")
    if status is Status.RUNNING:
        raise NotModified(f"container {record.id} is already running")
    if status is Status.REMOVING:
        raise Conflict("container is marked for removal and cannot be started")
