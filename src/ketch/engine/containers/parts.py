"""What the container modules work with: one value instead of a dozen parameters."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

import msgspec

from ketch.engine.builder.cache.gc import Collection
from ketch.engine.containers.limits import Ulimit
from ketch.engine.containers.live import LiveContainers
from ketch.engine.containers.runtimes import Program, Runtimes
from ketch.engine.containers.spec import LogConfig
from ketch.engine.containers.wait import Waiters

if TYPE_CHECKING:
    from ketch.engine.containers.pool import Pool
    from ketch.engine.containers.record import ContainerRecord
    from ketch.engine.containers.store import ContainerStore
    from ketch.engine.events.events import Events
    from ketch.engine.images.images import Images
    from ketch.engine.networks.networks import Networks
    from ketch.engine.spec.seccomp_filters import SeccompFilters
    from ketch.engine.volumes.volumes import Volumes
    from ketch.runtime.remote import Launcher
    from ketch.snapshots.protocol import Snapshotter


class Config(msgspec.Struct, frozen=True, kw_only=True):
    """What the daemon's configuration decides for containers."""

    data_root: str = "/var/lib/ketch"
    exec_root: str = "/run/ketch"
    cgroup_parent: str = "/ketch"
    pool_size: int = 3
    log: LogConfig = LogConfig()  # of containers that name no driver, or this one
    stop_timeout: int = 10  # seconds
    init: bool = False  # whether containers that do not say have an init process
    default_ulimits: tuple[Ulimit, ...] = ()  # of containers that name no other
    dns: tuple[str, ...] = ()  # name servers of containers that ask for none; empty: the host's
    cpu_realtime: tuple[int, int] = (0, 0)  # period and runtime of the cgroup parent, microseconds
    cdi_spec_dirs: tuple[str, ...] = ()  # where files describe devices
    labels: tuple[str, ...] = ()  # of the daemon, for info
    runtimes: dict[str, Program] = {}  # external ones, by name
    default_runtime: str = ""  # empty: ours
    build_cache: Collection = Collection()
    entitlements: frozenset[str] = frozenset({"network.host"})  # what builds get when they ask

    def bundle(self, container_id: str) -> str:
        """The directory of a container's files."""
        return f"{self.data_root}/containers/{container_id}"

    @property
    def runtimes_folder(self) -> str:
        """What external runtimes keep, a directory for each."""
        return f"{self.exec_root}/runtimes"

    def shim_socket(self, process_id: str) -> str:
        """The socket of the shim of a container or exec instance."""
        return f"{self.exec_root}/shims/{process_id}.sock"


@dataclass(frozen=True, slots=True)
class Parts:
    """The rooms and registries that containers are made of."""

    config: Config
    store: ContainerStore
    events: Events
    images: Images
    volumes: Volumes
    networks: Networks
    snapshots: Snapshotter
    launcher: Launcher
    pool: Pool
    filters: SeccompFilters
    runtimes: Runtimes
    live: LiveContainers = field(default_factory=LiveContainers)
    waiters: Waiters = field(default_factory=Waiters)

    @contextmanager
    def telling(self, record: ContainerRecord, action: str, **attributes: str) -> Iterator[None]:
        """``publish``, and a change in one transaction: both are kept, or neither."""
        with self.events.telling():
            self.publish(record, action, **attributes)
            yield

    def publish(self, record: ContainerRecord, action: str, **attributes: str) -> None:
        """Publish an event of a container, with the attributes that all of them carry."""
        self.events.publish(
            "container",
            action,
            record.id,
            {
                **record.spec.labels,
                "image": record.spec.image,
                "name": record.name,
                **attributes,
            },
        )
