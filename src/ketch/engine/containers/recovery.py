"""Finding one's way again after the daemon was gone: adopt what runs, record what ended, sweep.

For each record that may have a process: its shim answers (adopted, with logs, exit and attach
intact), or left its exit file (recorded as if it were just told), or neither (what is left in the
cgroup is killed, and the record says so). A start that was in flight when the daemon died is found
the same way: its shim answers with the process it started. Afterwards everything that no record
names is removed: bundles, snapshots, cgroups.
"""

from __future__ import annotations

import asyncio
import logging
import os
import shutil
from typing import TYPE_CHECKING

from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers import restart
from ketch.engine.containers.exit import unseen_exit
from ketch.engine.containers.record import ContainerRecord, Status
from ketch.errors import KetchError
from ketch.linux import unixpath
from ketch.linux.process import start_time
from ketch.runtime.cgroups.group import Cgroup
from ketch.runtime.remote import Exit, connect_shim

if TYPE_CHECKING:
    from ketch.engine.containers.execs import Execs
    from ketch.engine.containers.exit import Supervisor
    from ketch.engine.containers.parts import Parts

_log = logging.getLogger("ketch.engine.recovery")


class Recovery:
    """One pass at the start of the engine."""

    def __init__(self, parts: Parts, supervisor: Supervisor, execs: Execs) -> None:
        self._parts = parts
        self._supervisor = supervisor
        self._execs = execs

    async def run(self) -> None:
        """Adopt, restore networks, record exits, sweep; then policies start what they want."""
        ended: list[tuple[str, Exit]] = []
        for record in self._parts.store:
            exit = await self._adopt(record)
            if exit is not None:
                ended.append((record.id, exit))
        await self._restore_networks()
        for container_id, exit in ended:
            self._supervisor.record_exit(container_id, exit)
        await self._settle_volumes()
        await self._execs.adopt()
        await asyncio.to_thread(self._sweep, self._execs.alive())

    async def _restore_networks(self) -> None:
        """Addresses and ports of what runs; a start that was in flight has them not on record."""
        running = [record for record in self._parts.store if record.state.running]
        held = await self._parts.networks.restore(running)
        for record in running:
            connection = held.get(record.id)
            if connection is not None and not record.state.endpoints:
                self._parts.store.set_state(
                    record.id,
                    endpoints=connection.endpoints,
                    network_ids={end.network: end.network_id for end in connection.endpoints},
                    ports=connection.ports,
                )
            shim = self._parts.live[record.id].shim
            if shim is not None:
                await self._parts.networks.carry_ports(record.id, shim)

    async def _settle_volumes(self) -> None:
        """File systems of volumes stay mounted for what runs, and for nobody else."""
        running = {
            record.id: record.mount_points for record in self._parts.store if record.state.running
        }
        await self._parts.volumes.mounts.settle(running)

    async def _adopt(self, record: ContainerRecord) -> Exit | None:
        """The exit to be recorded, if the container ended unseen; None when that is settled."""
        try:
            shim = await connect_shim(self._parts.config.shim_socket(record.id))
            started = await shim.started()
        except KetchError:
            return await unseen_exit(record)
        if not record.state.running:
            self._parts.store.set_state(
                record.id,
                status=Status.RUNNING,
                pid=started.pid,
                pid_start_time=start_time(started.pid),
                started_at=started.started_at,
                cgroup=started.cgroup,
            )
        state = self._parts.store.by_id(record.id).state
        await container_cgroup.freeze_again(state, state.status is Status.PAUSED)  # a commit, say
        self._parts.live[record.id].started(shim)
        self._supervisor.watch(record.id, shim)
        return None

    # what no record names

    def _sweep(self, execs: set[str]) -> None:
        running = {record.id for record in self._parts.store if record.state.running}
        self._parts.runtimes.sweep(running | execs)
        self._sweep_snapshots()
        self._sweep_bundles()
        self._sweep_cgroups()
        self._sweep_sockets()

    def _sweep_snapshots(self) -> None:
        for key in tuple(self._parts.snapshots.snapshots()):
            if key not in self._parts.store:
                self._parts.snapshots.remove(key)

    def _sweep_bundles(self) -> None:
        folder = os.path.dirname(self._parts.config.bundle("x"))
        for name in os.listdir(folder):
            if name not in self._parts.store:
                shutil.rmtree(f"{folder}/{name}", ignore_errors=True)

    def _sweep_cgroups(self) -> None:
        kept = {
            directory
            for record in self._parts.store
            if record.state.running
            for directory in record.state.cgroup.values()
        }
        parent = self._parts.config.cgroup_parent
        others = {
            container_cgroup.absolute(record.spec.cgroup_parent) for record in self._parts.store
        }
        for hierarchy in container_cgroup.hierarchies():
            for name in _children(f"{hierarchy.mount}{parent}"):
                if f"{hierarchy.mount}{parent}/{name}" in kept:
                    continue
                if any(f"{other}/".startswith(f"{parent}/{name}/") for other in others):
                    continue  # containers' own parents are below ours
                group = Cgroup(parent, name, (hierarchy,))
                group.kill()
                _removed(group)
        self._sweep_below_others()

    def _sweep_below_others(self) -> None:
        """Below parents that containers chose there may be groups of others: only ours go."""
        for record in self._parts.store:
            if record.spec.cgroup_parent and not record.state.running:
                group = Cgroup(record.spec.cgroup_parent, record.id)
                group.kill()
                _removed(group)

    def _sweep_sockets(self) -> None:
        """Those of shims that were killed, and what exec processes left that no record names."""
        folder = os.path.dirname(self._parts.config.shim_socket("x"))
        for name in os.listdir(folder):
            if not name.endswith(".sock"):
                os.unlink(f"{folder}/{name}")
                continue
            try:
                unixpath.connect(f"{folder}/{name}").close()
            except ConnectionRefusedError:
                os.unlink(f"{folder}/{name}")
            except OSError:
                continue  # given up at this moment

    def start_wanted(self) -> None:
        """Start what restart policies want, in the background."""
        for record in self._parts.store:
            state, policy = record.state, record.spec.restart
            again = state.status is Status.RESTARTING or (
                state.status is Status.EXITED
                and restart.wanted_at_boot(
                    policy,
                    exit_code=state.exit_code,
                    restart_count=state.restart_count,
                    stopped_by_user=state.stopped_by_user,
                )
            )
            if again:
                self._supervisor.schedule(
                    self._parts.store.set_state(record.id, status=Status.RESTARTING)
                )


def _children(folder: str) -> list[str]:
    try:
        with os.scandir(folder) as entries:
            return [entry.name for entry in entries if entry.is_dir(follow_symlinks=False)]
    except FileNotFoundError:
        return []


def _removed(group: Cgroup) -> None:
    try:
        group.remove()
    except OSError as error:
        _log.warning("cannot remove the cgroup %s/%s: %s", group.parent, group.name, error)
