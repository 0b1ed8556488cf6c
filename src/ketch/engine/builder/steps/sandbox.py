"""A container without a record: what runs a RUN step, or programs of a build's client.

It is started from the warm pool like any other and is in no list. If the daemon dies under it, the
next start kills what is in its cgroup and removes its snapshot, because no record names them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import time
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.builder.steps import leftover
from ketch.engine.containers.attach import attach_wire
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.limits import Resources, Ulimit
from ketch.engine.containers.place import place
from ketch.engine.containers.record import ContainerRecord, MountPoint
from ketch.engine.containers.spec import ContainerSpec, LogConfig
from ketch.engine.spec.oci import oci_config
from ketch.engine.spec.resources import with_defaults
from ketch.engine.spec.start import Launch, start_wire
from ketch.engine.storing import storing
from ketch.errors import KetchError

if TYPE_CHECKING:
    from ketch.build.executor import RunStep
    from ketch.build.request.options import BuildLimits
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.builder.steps.mounts import Made
    from ketch.engine.networks.networks import Connection
    from ketch.runtime.messages import Attach
    from ketch.runtime.remote import Exit, Shim

_ETC_FILES = ("hosts", "resolv.conf")  # /etc/hostname is the image's, as in BuildKit
_SIGKILL = 9
_HOSTNAME = "buildkitsandbox"  # BuildKit's; always the same, as what is built should be
_SHM_SIZE = 64 << 20  # bytes


class Sandbox:
    """One of them: ``start`` once, ``retire`` always, even after a start that failed."""

    def __init__(
        self, room: BuildRoom, step: RunStep, mounts: Made, spec: ContainerSpec | None = None
    ) -> None:
        """``spec`` is the step's with what only a client's program has."""
        self._room = room
        self._mounts = mounts
        self._shims: list[Shim] = []
        self.record = self._record(step, spec or spec_of(step))
        layers = (room.floor, *step.layers)
        room.parts.snapshots.prepare(self.record.id, layers, apart=True)

    @property
    def id(self) -> str:
        """Of the container, and the key of its snapshot."""
        return self.record.id

    def _record(self, step: RunStep, spec: ContainerSpec) -> ContainerRecord:
        mounts = self._mounts
        spec = msgspec.structs.replace(
            spec, env=(*spec.env, *mounts.env), mounts=tuple(mounts.specs)
        )
        identity = secrets.token_hex(32)
        bundle = self._room.make_directory(identity)
        if spec.cgroup_parent:
            leftover.note(bundle, spec.cgroup_parent)
        points = list(mounts.points)
        if step.script_path:
            script = f"{bundle}/script"
            with storing("the script of a step"):
                with open(script, "w", encoding="utf-8") as file:
                    file.write(step.script)
                os.chmod(script, 0o755)
            points.append(
                MountPoint(type="bind", source=script, target=step.script_path, writable=False)
            )
        return ContainerRecord(
            id=identity,
            name=identity[:12],
            created_at=time.time_ns(),
            image_id="",
            layers=step.layers,
            spec=spec,
            mount_points=tuple(points),
            bundle=bundle,
        )

    async def start(self) -> socket.socket:
        """Network and process; returns the socket that carries its stdio, framed but for a
        terminal's. Raises ``StartFailed``."""
        parts, record = self._room.parts, self.record
        member = parts.pool.take(record.spec)
        try:
            connection = await parts.networks.connect(record, member.lease if member else None)
        except BaseException:
            if member is not None:
                await asyncio.shield(parts.pool.discard(member))
            raise
        ours, theirs = socket.socketpair()
        try:
            with theirs:
                launch = self._launch(connection, member.id if member else "")
                wire = start_wire(record, launch)
                attach = attach_of(theirs, stdin=record.spec.open_stdin, tty=record.spec.tty)
                self._shims.append(await parts.launcher.start(wire, [(theirs, attach)]))
                started = await self.shim.started()
                await parts.pool.used(member, self.shim)
        except BaseException:
            ours.close()
            if member is not None:  # perhaps still parked: its address is about to be free
                await asyncio.shield(parts.launcher.drop_warm([member.id]))
            raise
        state = msgspec.structs.replace(record.state, pid=started.pid)
        self.record = msgspec.structs.replace(record, state=state)
        parts.pool.stir()
        ours.setblocking(False)
        return ours

    @property
    def shim(self) -> Shim:
        """Of the process, once it was started."""
        return self._shims[0]

    async def exited(self) -> Exit:
        """Its end."""
        return await self.shim.exited()

    def _launch(self, connection: Connection, warm: str) -> Launch:
        parts, record = self._room.parts, self.record
        parent = record.spec.cgroup_parent or parts.config.cgroup_parent
        where = place(parts, record, f"{parent}/{record.id}", connection.endpoints)
        where = msgspec.structs.replace(where, etc_files=_ETC_FILES)
        return Launch(
            config=oci_config(record, where),
            rootfs=parts.snapshots.rootfs(record.id, volatile=True),  # its layer is synced
            socket=parts.config.shim_socket(record.id),
            cgroup_parent=parent,
            seccomp=parts.filters.of(record.spec),
            warm=warm,
            link=connection.link,
            images=tuple(self._mounts.roots),
        )

    async def end(self) -> None:
        """Kill what still runs."""
        for shim in self._shims:
            await end(shim)

    async def retire(self) -> None:
        """Take away everything that it leaves, whatever became of it; a snapshot that the build
        keeps stays until the build is over."""
        parts = self._room.parts
        await self.end()
        await parts.networks.disconnect(self.id, tell=True)
        await parts.networks.forget(self.record)
        if self.id not in self._room.kept:
            await asyncio.to_thread(parts.snapshots.remove, self.id)
        await asyncio.to_thread(shutil.rmtree, self.record.bundle, ignore_errors=True)


def attach_of(sock: socket.socket, *, stdin: bool, tty: bool) -> Attach:
    """The one client of a process's stdio: the engine itself, which types no detach keys."""
    options = AttachOptions(sock=sock, stdin=stdin, stdout=True, stderr=True, framed=not tty)
    return {**attach_wire(options), "detach_keys": []}


async def end(shim: Shim) -> None:
    """Kill what still runs, and take the sandbox down."""
    try:
        await shim.signal(_SIGKILL)
    except KetchError:
        pass  # it has ended by itself
    try:
        await shim.exited()
        await shim.reap()
    except KetchError:
        pass  # there was no start, or the shim is dead
    shim.close()


def spec_of(step: RunStep) -> ContainerSpec:
    """What a step's container is."""
    network = step.network if step.network not in ("", "default") else "bridge"
    return ContainerSpec(
        image="",
        cmd=step.argv,
        env=("HOSTNAME", *step.env),  # which no step sees, as in BuildKit
        privileged=step.insecure,
        user=step.user,
        working_dir=step.working_dir,
        hostname=step.hostname or _HOSTNAME,
        network_mode=network,
        extra_hosts=step.extra_hosts,
        log=LogConfig(driver="none"),
        resources=with_defaults(_resources(step.limits)),
        read_only_rootfs=step.read_only,
        shm_size=step.limits.shm_size or _SHM_SIZE,
        cgroup_parent=step.limits.cgroup_parent,
    )


def _resources(limits: BuildLimits) -> Resources:
    return Resources(
        memory=limits.memory,
        memory_swap=limits.memory_swap,
        cpu_shares=limits.cpu_shares,
        cpu_period=limits.cpu_period,
        cpu_quota=limits.cpu_quota,
        cpuset_cpus=limits.cpuset_cpus,
        cpuset_mems=limits.cpuset_mems,
        ulimits=tuple(Ulimit(name=n, soft=soft, hard=hard) for n, soft, hard in limits.ulimits),
    )
