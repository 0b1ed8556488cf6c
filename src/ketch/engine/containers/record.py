"""A container as the state store keeps it: identity, specification, state.

Instants are nanoseconds since the epoch (0 = never). ``containers.spec`` holds what was asked for.
"""

from __future__ import annotations

from enum import StrEnum

import msgspec

from ketch.engine.containers.health_values import Health
from ketch.engine.containers.spec import ContainerSpec, MountSpec
from ketch.engine.why.endings import DeniedCall, OutOfMemory, PastExit, SentSignal


class Status(StrEnum):
    """Docker's words for a container's state."""

    CREATED = "created"
    RUNNING = "running"
    PAUSED = "paused"
    RESTARTING = "restarting"
    REMOVING = "removing"
    EXITED = "exited"
    DEAD = "dead"


class PortBinding(msgspec.Struct, frozen=True, kw_only=True):
    """A published port as it is: one row per host address."""

    container_port: int
    protocol: str
    host_ip: str
    host_port: int


class Endpoint(msgspec.Struct, frozen=True, kw_only=True):
    """A container's place in one network, as it is."""

    network: str  # name
    network_id: str
    endpoint_id: str = ""
    ipv4: str = ""
    ipv4_prefix: int = 0
    gateway: str = ""
    ipv6: str = ""
    ipv6_prefix: int = 0
    ipv6_gateway: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    host_interface: str = ""
    interface: str = ""


class MountPoint(msgspec.Struct, frozen=True, kw_only=True):
    """A mount as it is, for inspect."""

    type: str
    source: str
    target: str
    name: str = ""
    driver: str = ""
    mode: str = ""
    writable: bool = True
    propagation: str = ""
    anonymous: bool = False
    subpath: str = ""
    recursive: bool = True
    recursive_ro: bool = True
    layers: tuple[str, ...] = ()  # of an image: diff IDs, base first


class ContainerState(msgspec.Struct, frozen=True, kw_only=True):
    """The changing part; ``pid`` is 0 unless running."""

    status: Status = Status.CREATED
    pid: int = 0
    pid_start_time: int = 0  # field 22 of /proc/PID/stat, tells a recycled pid
    exit_code: int = 0
    error: str = ""
    oom_killed: bool = False
    started_at: int = 0
    finished_at: int = 0
    restart_count: int = 0
    stopped_by_user: bool = False
    cgroup: dict[str, str] = {}  # controller (and "unified") → directory
    endpoints: tuple[Endpoint, ...] = ()
    network_ids: dict[str, str] = {}  # by name, of the latest start: a stopped container's too
    ports: tuple[PortBinding, ...] = ()
    health: Health | None = None  # None = not probed
    exit_signal: int = 0  # what ended the last run, 0 = it ended by itself
    unsupervised: bool = False  # the last run's supervisor died, so its end is not known
    last_signal: SentSignal | None = None  # of this run, or of the last one
    out_of_memory: OutOfMemory | None = None
    watched_since: int = 0  # ns; asked for with denied system calls written down, 0 = not
    denied: tuple[DeniedCall, ...] = ()
    exits: tuple[PastExit, ...] = ()  # the latest runs, oldest first

    @property
    def running(self) -> bool:
        """Whether there is a process: running, or frozen."""
        return self.status in (Status.RUNNING, Status.PAUSED)


class Pending(msgspec.Struct, frozen=True, kw_only=True):
    """What the next start changes, as whole new values of the specification."""

    env: tuple[str, ...]
    mounts: tuple[MountSpec, ...]
    binds: tuple[str, ...]
    anonymous_volumes: tuple[str, ...]
    mount_points: tuple[MountPoint, ...]


class LinkedTo(msgspec.Struct, frozen=True, kw_only=True):
    """A legacy link: the other container, its name when it was made, and what it is called here."""

    container: str
    name: str
    alias: str


class ContainerRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A container: identity, specification, state."""

    id: str
    name: str  # without the leading slash
    created_at: int
    image_id: str  # "sha256:…" of the image config
    layers: tuple[str, ...]  # diff IDs of the image, base first
    spec: ContainerSpec  # merged with the image's config
    state: ContainerState = ContainerState()
    mount_points: tuple[MountPoint, ...] = ()
    links: tuple[LinkedTo, ...] = ()
    bundle: str = ""
    log_path: str = ""
    pending: Pending | None = None

    @property
    def held_points(self) -> tuple[MountPoint, ...]:
        """Mounts of this run and of the next: their volumes are in use."""
        return (*self.mount_points, *(self.pending.mount_points if self.pending else ()))
