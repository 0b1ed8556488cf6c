"""Records of the engine: what a user asked for, and what is.

``…Spec`` values are what a client wants and never change after create (but for ``update``);
``…Record`` values are what the state store keeps; ``…State`` is the changing part. All sizes are
bytes, all durations nanoseconds (Docker's unit), all instants nanoseconds since the epoch (0 =
never). Names are the engine's own; the API room maps them to Docker's JSON.
"""

from __future__ import annotations

import socket
from enum import StrEnum

import msgspec

from ketch.engine import model_limits
from ketch.engine.endings import DeniedCall, OutOfMemory, PastExit, SentSignal
from ketch.engine.health_values import Health, Healthcheck
from ketch.engine.runtimes import Program
from ketch.logs import entries

LogEntry = entries.Entry
"""One line of a log."""
Ulimit = model_limits.Ulimit
DeviceMap = model_limits.DeviceMap
DeviceRate = model_limits.DeviceRate
DeviceRequest = model_limits.DeviceRequest
Resources = model_limits.Resources


class RestartPolicy(msgspec.Struct, frozen=True, kw_only=True):
    """``no``, ``always``, ``unless-stopped`` or ``on-failure`` with a bound (0 = none)."""

    name: str = "no"
    max_retries: int = 0


class LogConfig(msgspec.Struct, frozen=True, kw_only=True):
    """Log driver and its options, as strings as Docker gives them."""

    driver: str = "json-file"
    options: dict[str, str] = {}


class MountSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One mount asked for: ``bind``, ``volume``, ``tmpfs`` or ``image``.

    ``source`` is a host path, a volume name (empty: anonymous volume) or an image. ``short`` tells
    that it came from ``--tmpfs``, ``consistency`` is kept for inspect. ``create_source`` is
    true for ``-v`` syntax, where a missing host path is made. ``mode`` keeps the words after the
    second colon of ``-v`` (``ro,z``) for inspect.
    """

    type: str
    target: str
    source: str = ""
    read_only: bool = False
    propagation: str = ""
    no_copy: bool = False
    create_source: bool = False
    tmpfs_size: int = 0
    tmpfs_mode: int = 0
    tmpfs_options: tuple[str, ...] = ()
    driver_options: dict[str, str] = {}
    labels: dict[str, str] = {}
    driver: str = ""
    mode: str = ""
    subpath: str = ""  # of a volume or an image
    recursive: bool = True  # what is mounted below a bind's source comes along
    recursive_ro: bool = True  # and becomes read-only too
    force_recursive_ro: bool = False
    consistency: str = ""
    short: bool = False


class PortSpec(msgspec.Struct, frozen=True, kw_only=True):
    """One published port: ``host_port`` "" = any free one, "8000-8010" = the first free."""

    container_port: int
    protocol: str = "tcp"
    host_ip: str = ""
    host_port: str = ""


class EndpointSpec(msgspec.Struct, frozen=True, kw_only=True):
    """How a container joins one network."""

    network: str
    ipv4: str = ""
    ipv6: str = ""
    mac: str = ""
    aliases: tuple[str, ...] = ()
    links: tuple[str, ...] = ()
    driver_options: dict[str, str] = {}


class ContainerSpec(msgspec.Struct, frozen=True, kw_only=True):
    """Everything asked for at create, merged with the image's configuration by the engine.

    ``cmd``/``entrypoint`` None = take the image's; an empty tuple is a real empty value.
    """

    image: str
    cmd: tuple[str, ...] | None = None
    entrypoint: tuple[str, ...] | None = None
    env: tuple[str, ...] = ()
    labels: dict[str, str] = {}
    user: str = ""
    working_dir: str = ""
    hostname: str = ""
    domainname: str = ""
    tty: bool = False
    open_stdin: bool = False
    stdin_once: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    exposed_ports: tuple[str, ...] = ()  # "80/tcp"
    anonymous_volumes: tuple[str, ...] = ()  # targets, from the image's VOLUME and -v /path
    healthcheck: Healthcheck | None = None
    health_on_failure: str = "none"  # what becomes of an unhealthy container: restart, stop, kill
    stop_signal: str = ""
    stop_timeout: int | None = None  # seconds
    shell: tuple[str, ...] = ()
    platform: str = ""
    annotations: dict[str, str] = {}
    # host side
    mounts: tuple[MountSpec, ...] = ()
    binds: tuple[str, ...] = ()  # the -v strings as given, for inspect; parsed into ``mounts``
    volumes_from: tuple[str, ...] = ()
    ports: tuple[PortSpec, ...] = ()
    publish_all: bool = False
    network_mode: str = "bridge"
    network_disabled: bool = False  # nothing but loopback, whatever ``network_mode`` says
    endpoints: tuple[EndpointSpec, ...] = ()
    dns: tuple[str, ...] = ()
    dns_search: tuple[str, ...] = ()
    dns_options: tuple[str, ...] = ()
    extra_hosts: tuple[str, ...] = ()
    links: tuple[str, ...] = ()  # "name:alias", on the default bridge
    restart: RestartPolicy = RestartPolicy()
    auto_remove: bool = False
    log: LogConfig = LogConfig()
    cap_add: tuple[str, ...] = ()
    cap_drop: tuple[str, ...] = ()
    privileged: bool = False
    security_options: tuple[str, ...] = ()
    masked_paths: tuple[str, ...] | None = None  # None = the default list
    readonly_paths: tuple[str, ...] | None = None
    read_only_rootfs: bool = False
    pid_mode: str = ""
    ipc_mode: str = "private"
    uts_mode: str = ""
    cgroupns_mode: str = ""
    userns_mode: str = ""
    cgroup_parent: str = ""
    storage_options: dict[str, str] = {}
    id_file: str = ""  # where the client wrote the ID; kept for inspect, as ``volume_driver`` is
    volume_driver: str = ""
    runtime: str = ""
    isolation: str = ""
    init: bool | None = None  # None = the engine's default
    group_add: tuple[str, ...] = ()
    shm_size: int = 64 * 1024 * 1024
    sysctls: dict[str, str] = {}
    oom_score_adj: int = 0
    resources: Resources = Resources()
    console_size: tuple[int, int] = (0, 0)  # height, width of the terminal before any resize


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
    ports: tuple[PortBinding, ...] = ()
    health: Health | None = None  # None = not probed
    exit_signal: int = 0  # what ended the last run, 0 = it ended by itself
    unsupervised: bool = False  # the last run's supervisor died, so its end is not known
    last_signal: SentSignal | None = None  # of this run, or of the last one
    out_of_memory: OutOfMemory | None = None
    watched: bool = False  # started so that the kernel writes denied system calls down
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


class AttachOptions(msgspec.Struct, kw_only=True):
    """One client of a process's stdio. ``sock`` is the client's connection; the engine owns it."""

    sock: socket.socket
    stdin: bool = False
    stdout: bool = False
    stderr: bool = False
    stream: bool = True
    logs: bool = False
    framed: bool = True  # stdcopy frames; False for a TTY
    detach_keys: str = "ctrl-p,ctrl-q"
    read_ahead: bytes = b""  # bytes of the client that the HTTP parser had already read


class ExecSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A process to run in a running container."""

    cmd: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    tty: bool = False
    privileged: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    console_size: tuple[int, int] = (0, 0)  # height, width
    die_with_client: bool = False


class ExecRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An exec instance; ``exit_code`` is None until it ended."""

    id: str
    container_id: str
    spec: ExecSpec
    running: bool = False
    started: bool = False
    started_at: int = 0
    pid: int = 0
    exit_code: int | None = None


class LogOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which log lines; instants in ns since the epoch, ``tail`` -1 = all."""

    stdout: bool = True
    stderr: bool = True
    follow: bool = False
    since: int = 0
    until: int = 0
    tail: int = -1


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; ``action`` in Docker's words (``create``, ``exec_die``)."""

    type: str
    action: str
    actor: str
    attributes: dict[str, str] = {}
    time: int = 0


class Progress(msgspec.Struct, frozen=True, kw_only=True):
    """One line of a long operation, in the terms of Docker's progress stream."""

    status: str = ""
    id: str = ""
    current: int = 0
    total: int = 0
    stream: str = ""
    error: str = ""
    aux: dict[str, str] = {}


class ImageRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An image: ``id`` is the digest of its config blob; ``layers`` are diff IDs, base first."""

    id: str
    layers: tuple[str, ...]
    created_at: int = 0
    size: int = 0
    tags: tuple[str, ...] = ()  # familiar "name:tag"
    digests: tuple[str, ...] = ()  # "name@sha256:…"
    parent: str = ""


class Change(msgspec.Struct, frozen=True, kw_only=True):
    """One path that differs from the image: kind 0 modified, 1 added, 2 deleted."""

    path: str
    kind: int


class PathStat(msgspec.Struct, frozen=True, kw_only=True):
    """What the archive routes say of a path; ``mode`` is st_mode of stat(2)."""

    name: str
    size: int
    mode: int
    mtime: int
    link_target: str = ""


class VolumeRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A volume of a driver."""

    name: str
    driver: str = "local"
    mountpoint: str = ""
    labels: dict[str, str] = {}
    options: dict[str, str] = {}
    created_at: int = 0
    anonymous: bool = False
    project: int = 0  # of the quota that bounds it


class NetworkRecord(msgspec.Struct, frozen=True, kw_only=True):
    """A virtual network."""

    id: str
    name: str
    driver: str = "bridge"
    created_at: int = 0
    internal: bool = False
    attachable: bool = False
    enable_ipv6: bool = False
    subnets: tuple[tuple[str, str], ...] = ()  # (CIDR, gateway)
    bridge: str = ""
    options: dict[str, str] = {}
    labels: dict[str, str] = {}


class WaitCondition(StrEnum):
    """When ``wait`` answers."""

    NOT_RUNNING = "not-running"
    NEXT_EXIT = "next-exit"
    REMOVED = "removed"


class ExitResult(msgspec.Struct, frozen=True, kw_only=True):
    """What ``wait`` answers."""

    status: int
    error: str = ""


Filters = dict[str, tuple[str, ...]]
"""Docker's filters: key → values, any of which may match."""


class ListOptions(msgspec.Struct, frozen=True, kw_only=True):
    """Which containers: ``limit`` 0 = all; ``filters`` with Docker's keys."""

    all: bool = False
    limit: int = 0
    filters: Filters = {}


class ContainerSizes(msgspec.Struct, frozen=True, kw_only=True):
    """Bytes of the writable layer, and of it with the image's layers."""

    rw: int
    root: int


class CommitOptions(msgspec.Struct, frozen=True, kw_only=True):
    """How to make an image of a container; ``reference`` empty = untagged.

    ``changes`` are Dockerfile instructions (``CMD ["x"]``, ``ENV a=b``…). Values of ``overrides``
    that are not empty replace the container's configuration (the body of Docker's commit).
    """

    reference: str = ""
    comment: str = ""
    author: str = ""
    pause: bool = True
    changes: tuple[str, ...] = ()
    overrides: ContainerSpec | None = None


class ArchivePut(msgspec.Struct, frozen=True, kw_only=True):
    """Options of ``archive_put``; ``no_overwrite_dir_non_dir`` keeps a directory from replacing a
    file and the reverse."""

    no_overwrite_dir_non_dir: bool = False


class TopTable(msgspec.Struct, frozen=True, kw_only=True):
    """ps(1) output of a container's processes."""

    titles: tuple[str, ...]
    processes: tuple[tuple[str, ...], ...]


class NetworkCounters(msgspec.Struct, frozen=True, kw_only=True):
    """Counters of one interface, seen from inside the container."""

    rx_bytes: int = 0
    rx_packets: int = 0
    rx_errors: int = 0
    rx_dropped: int = 0
    tx_bytes: int = 0
    tx_packets: int = 0
    tx_errors: int = 0
    tx_dropped: int = 0


class BlkioEntry(msgspec.Struct, frozen=True, kw_only=True):
    """One counter of one block device; ``op`` is ``read``, ``write``…"""

    major: int
    minor: int
    op: str
    value: int


class Stats(msgspec.Struct, frozen=True, kw_only=True):
    """One sample of a container's cgroup: the kernel's numbers, nothing computed.

    CPU values in ns; ``memory_stats`` holds the lines of memory.stat; ``online_cpus`` the number
    of CPUs; ``system_cpu`` the host's CPU time of all kinds (/proc/stat, first line) in ns.
    """

    read_at: int
    cpu_total: int = 0
    cpu_user: int = 0
    cpu_kernel: int = 0
    percpu: tuple[int, ...] = ()
    throttling: tuple[int, int, int] = (0, 0, 0)  # periods, throttled periods, throttled ns
    system_cpu: int = 0
    online_cpus: int = 0
    memory_usage: int = 0
    memory_max_usage: int = 0
    memory_failcnt: int = 0
    memory_limit: int = 0
    memory_stats: dict[str, int] = {}
    pids_current: int = 0
    pids_limit: int = 0
    blkio_bytes: tuple[BlkioEntry, ...] = ()
    blkio_ops: tuple[BlkioEntry, ...] = ()
    networks: dict[str, NetworkCounters] = {}


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a prune deleted, and the bytes that are free again."""

    deleted: tuple[str, ...] = ()
    reclaimed: int = 0


class VersionFacts(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for ``version``."""

    version: str
    kernel: str
    os: str
    arch: str
    python: str
    build_time: str = ""
    components: dict[str, str] = {}  # name → version


class SystemInfo(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for ``info``; all read from the machine or counted from the records."""

    id: str
    name: str
    containers: int
    running: int
    paused: int
    stopped: int
    images: int
    snapshotter: str
    storage_facts: tuple[tuple[str, str], ...] = ()
    log_driver: str = "json-file"
    log_drivers: tuple[str, ...] = ()
    volume_drivers: tuple[str, ...] = ("local",)
    network_drivers: tuple[str, ...] = ()
    cgroup_driver: str = "cgroupfs"
    cgroup_version: str = "1"
    kernel: str = ""
    operating_system: str = ""
    os_version: str = ""
    arch: str = ""
    cpus: int = 0
    memory: int = 0
    data_root: str = ""
    security_options: tuple[str, ...] = ()
    runtimes: dict[str, Program] = {}
    default_runtime: str = ""
    limits: dict[str, bool] = {}  # memory, swap, cpu_shares, cpu_quota, cpuset, pids, …
    labels: tuple[str, ...] = ()
    cdi_spec_dirs: tuple[str, ...] = ()
    warnings: tuple[str, ...] = ()
    registry_mirrors: tuple[str, ...] = ()
    insecure_registries: tuple[str, ...] = ()  # hosts and CIDRs
    proxies: dict[str, str] = {}  # http, https, no
    debug: bool = False
    now: int = 0


class DiskUsage(msgspec.Struct, frozen=True, kw_only=True):
    """Facts for ``system df``: records with their sizes in bytes."""

    layers_size: int = 0
    containers: tuple[tuple[ContainerRecord, ContainerSizes], ...] = ()
    volumes: tuple[tuple[VolumeRecord, int, int], ...] = ()  # record, size, reference count
