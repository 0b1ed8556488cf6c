"""RUN: a container without a record, started from the warm pool like any other.

It is in no list, since it lives for one step only. If the daemon dies under it, the next start
kills what is in its cgroup and removes its snapshot, because no record names them.
"""

from __future__ import annotations

import asyncio
import os
import secrets
import shutil
import socket
import time
from collections.abc import Callable
from typing import TYPE_CHECKING

import msgspec

from ketch.build.executor import RunOutcome, RunStep
from ketch.build.progress import Report
from ketch.engine.builder import leftover
from ketch.engine.builder.mounts import Made, made
from ketch.engine.builder.output import relay
from ketch.engine.containers.attach import attach_wire
from ketch.engine.containers.attach_options import AttachOptions
from ketch.engine.containers.limits import Resources, Ulimit
from ketch.engine.containers.place import place
from ketch.engine.containers.record import ContainerRecord, MountPoint
from ketch.engine.containers.spec import ContainerSpec, LogConfig
from ketch.engine.emulation import check_runs
from ketch.engine.spec import validate as spec_validate
from ketch.engine.spec.oci import oci_config
from ketch.engine.spec.resources import with_defaults
from ketch.engine.spec.start import Launch, start_wire
from ketch.engine.storing import storing
from ketch.errors import KetchError

if TYPE_CHECKING:
    from ketch.build.options import BuildLimits
    from ketch.engine.builder.files import StepFiles
    from ketch.engine.builder.mount_transfer import MountTransfer
    from ketch.engine.builder.room import BuildRoom
    from ketch.engine.networks.networks import Connection
    from ketch.runtime.remote import Shim

_SIGKILL = 9
_HOSTNAME = "buildkitsandbox"  # BuildKit's; always the same, as what is built should be
_SHM_SIZE = 64 << 20  # bytes


class StepRunner:
    """Runs the RUN steps of one build."""

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

    async def run(
        self, step: RunStep, started: Callable[[str], None], report: Report
    ) -> RunOutcome:
        """Run to the end; when cancelled, the process is killed and nothing stays."""
        check_runs(step.platform)
        mounting = made(self._room, self._files, self._transfer, step)
        async with self._room.slots, mounting as mounts:
            return await self._run(self._record(step, mounts), mounts, started, report)

    async def _run(
        self,
        record: ContainerRecord,
        mounts: Made,
        started: Callable[[str], None],
        report: Report,
    ) -> RunOutcome:
        layers = (self._room.floor, *record.layers)
        self._room.parts.snapshots.prepare(record.id, layers, apart=True)
        started(record.id)
        shims: list[Shim] = []
        try:
            client = await self._start(record, mounts, shims)
            with client:
                await relay(client, report, self._room.channel.room)
            status = (await shims[0].exited()).status
            if mounts.points:
                await _end(shims[0])  # nothing may still be at work in a mount
            layer = "" if status else await self._room.ingest(record.id, mounts.stubs)
        finally:
            self._room.later(self._retire(record, shims))
        return RunOutcome(status, layer)

    def check(self) -> None:
        """Refuse limits and networks that no step could have; raises ``InvalidParameter``."""
        options = self._room.options
        step = RunStep(
            layers=(),
            argv=("true",),
            env=(),
            user="",
            working_dir="/",
            network=options.network_mode,
            hostname=options.build_args.get("BUILDKIT_SANDBOX_HOSTNAME") or "",
            limits=options.limits,
            extra_hosts=options.extra_hosts,
        )
        spec_validate.validate(_spec(step), self._facts)

    def _record(self, step: RunStep, mounts: Made) -> ContainerRecord:
        spec = _spec(step)
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

    async def _start(
        self, record: ContainerRecord, mounts: Made, shims: list[Shim]
    ) -> socket.socket:
        """Network and process; returns the socket that carries the framed output.

        The shim goes into ``shims`` as soon as there is one, so that a failure later ends it.
        """
        parts = self._room.parts
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
                launch = self._launch(record, connection, member.id if member else "")
                launch = msgspec.structs.replace(launch, images=tuple(mounts.roots))
                attach = attach_wire(AttachOptions(sock=theirs, stdout=True, stderr=True))
                wire = start_wire(record, launch)
                shims.append(await parts.launcher.start(wire, [(theirs, attach)]))
                await shims[0].started()
                await parts.pool.used(member, shims[0])
        except BaseException:
            ours.close()
            if member is not None:  # perhaps still parked: its address is about to be free
                await asyncio.shield(parts.launcher.drop_warm([member.id]))
            raise
        parts.pool.stir()
        ours.setblocking(False)
        return ours

    def _launch(self, record: ContainerRecord, connection: Connection, warm: str) -> Launch:
        parts = self._room.parts
        parent = record.spec.cgroup_parent or parts.config.cgroup_parent
        where = place(parts, record, f"{parent}/{record.id}", connection.endpoints)
        return Launch(
            config=oci_config(record, where),
            rootfs=parts.snapshots.rootfs(record.id, volatile=True),  # its layer is synced
            socket=parts.config.shim_socket(record.id),
            cgroup_parent=parent,
            seccomp=parts.filters.of(record.spec),
            warm=warm,
            link=connection.link,
        )

    async def _retire(self, record: ContainerRecord, shims: list[Shim]) -> None:
        """Everything that a step leaves, whatever became of it."""
        parts = self._room.parts
        for shim in shims:
            await _end(shim)
        await parts.networks.disconnect(record.id, tell=True)
        await parts.networks.forget(record)
        await asyncio.to_thread(parts.snapshots.remove, record.id)
        await asyncio.to_thread(shutil.rmtree, record.bundle, ignore_errors=True)


async def _end(shim: Shim) -> None:
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


def _spec(step: RunStep) -> ContainerSpec:
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
