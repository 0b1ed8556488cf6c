"""The facade: one ``Engine`` with a property per kind of object.

Everything above (the API, library users) goes through here; nothing here knows HTTP or Docker's
JSON. Every method may raise the categories of ``ketch.errors``; a *ref* is a name, a full ID, or
an unambiguous prefix of an ID.

Life cycle: construct with ``Config`` and ``Rooms`` (the daemon wires them), ``await start()``
(recovers what ran before, fills the pool), use, ``await close()`` (containers live on).
"""

from __future__ import annotations

import asyncio
import os
from dataclasses import dataclass
from typing import TYPE_CHECKING

from ketch.engine.containers import cgroup as container_cgroup
from ketch.engine.containers.containers import Containers
from ketch.engine.containers.execs import Execs
from ketch.engine.containers.parts import Config, Parts
from ketch.engine.containers.pool import Pool, Settings
from ketch.engine.containers.recovery import Recovery
from ketch.engine.containers.runtimes import Runtimes
from ketch.engine.containers.spec import ContainerSpec
from ketch.engine.containers.store import ContainerStore
from ketch.engine.spec import kernel as spec_kernel
from ketch.engine.spec.seccomp_filters import SeccompFilters
from ketch.engine.spec.validate import Facts
from ketch.engine.system import System
from ketch.engine.tasks import Background
from ketch.linux.capabilities import NAMES

if TYPE_CHECKING:
    from ketch.engine.builder.builder import Builder
    from ketch.engine.events.events import Events
    from ketch.engine.images.images import Images
    from ketch.engine.networks.networks import Networks
    from ketch.engine.volumes.volumes import Volumes
    from ketch.runtime.remote import Launcher
    from ketch.snapshots.protocol import Snapshotter
    from ketch.state.database import Database


@dataclass(frozen=True, slots=True)
class Rooms:
    """What the engine stands on, ready for use."""

    database: Database
    events: Events
    images: Images
    volumes: Volumes
    networks: Networks
    snapshots: Snapshotter
    launcher: Launcher


class Engine:
    """See the module's docstring. ``builder`` is set by whoever wires the engine."""

    builder: Builder

    def __init__(self, config: Config, rooms: Rooms) -> None:
        self.events = rooms.events
        self.images = rooms.images
        self.volumes = rooms.volumes
        self.networks = rooms.networks
        self._background = Background()
        self._parts = self._make_parts(config, rooms)
        self.containers = Containers(self._parts, self._background, _facts())
        self.execs = Execs(self._parts, rooms.database, self._background)
        self.system = System(self._parts, self.containers)
        self._recovery = Recovery(self._parts, self.containers.supervisor, self.execs)

    def _make_parts(self, config: Config, rooms: Rooms) -> Parts:
        for folder in (config.bundle(""), config.shim_socket("x").rpartition("/")[0]):
            os.makedirs(folder, mode=0o710, exist_ok=True)
        settings = Settings(size=config.pool_size, cgroup_parent=config.cgroup_parent)
        return Parts(
            config=config,
            store=ContainerStore(rooms.database),
            events=rooms.events,
            images=rooms.images,
            volumes=rooms.volumes,
            networks=rooms.networks,
            snapshots=rooms.snapshots,
            launcher=rooms.launcher,
            pool=Pool(rooms.launcher, rooms.networks, self._background, settings),
            filters=SeccompFilters(f"{config.data_root}/seccomp"),
            runtimes=Runtimes(config.runtimes_folder, config.runtimes, config.default_runtime),
        )

    @property
    def parts(self) -> Parts:
        """For services that whoever wires the engine adds to it."""
        return self._parts

    async def start(self) -> None:
        """Recover the state of before, adopt what still runs, sweep what no record names."""
        await asyncio.to_thread(self._parts.filters.of, ContainerSpec(image=""))  # compiled once
        await self._recovery.run()
        await self._parts.pool.start()
        self._recovery.start_wanted()

    async def close(self) -> None:
        """Let go of everything without stopping a container."""
        await self._parts.pool.close()
        await self.containers.close()
        self.images.close()
        await self._background.close()
        self.events.flush()


def _facts() -> Facts:
    return Facts(
        cpus=os.cpu_count() or 1,
        capabilities=frozenset(NAMES),
        unified_cgroups=all(tree.version == 2 for tree in container_cgroup.hierarchies()),
        kernel=spec_kernel.look(container_cgroup.hierarchies()),
        hard_limits=spec_kernel.own_hard_limits(),
    )
