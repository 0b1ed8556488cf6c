"""What a user asks of a container at create; it never changes later, but for ``update``.

Sizes are bytes, durations nanoseconds (Docker's unit). Names are the engine's own; the API room
maps them to Docker's JSON.
"""

from __future__ import annotations

import msgspec

from ketch.engine.containers.health_values import Healthcheck
from ketch.engine.containers.limits import Resources


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
    empty_lists: tuple[str, ...] = ()  # members of HostConfig sent as [], for inspect
