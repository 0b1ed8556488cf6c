"""The body of ``POST /containers/create`` but for its host part."""

from __future__ import annotations

from ketch.api.schema import Body, Int64, Map, Names, Set, Words
from ketch.api.schema.host import Host


class Health(Body):
    """``HealthConfig``; durations in ns."""

    Test: Names = None
    Interval: Int64 | None = None
    Timeout: Int64 | None = None
    Retries: Int64 | None = None
    StartPeriod: Int64 | None = None
    StartInterval: Int64 | None = None


class Config(Body):
    """``ContainerConfig``."""

    Hostname: str | None = None
    Domainname: str | None = None
    User: str | None = None
    AttachStdin: bool | None = None
    AttachStdout: bool | None = None
    AttachStderr: bool | None = None
    ExposedPorts: Set = None
    Tty: bool | None = None
    OpenStdin: bool | None = None
    StdinOnce: bool | None = None
    Env: Names = None
    Cmd: Words = None
    Healthcheck: Health | None = None
    ArgsEscaped: bool | None = None
    Image: str | None = None
    Volumes: Set = None
    WorkingDir: str | None = None
    Entrypoint: Words = None
    NetworkDisabled: bool | None = None
    MacAddress: str | None = None
    OnBuild: Names = None
    Labels: Map = None
    StopSignal: str | None = None
    StopTimeout: Int64 | None = None
    Shell: Words = None


class Addresses(Body):
    """``EndpointIPAMConfig``."""

    IPv4Address: str | None = None
    IPv6Address: str | None = None
    LinkLocalIPs: Names = None


class EndpointSettings(Body):
    """How to join a network. The second half is output that clients send back; it is not read."""

    IPAMConfig: Addresses | None = None
    Links: Names = None
    Aliases: Names = None
    MacAddress: str | None = None
    DriverOpts: Map = None
    GwPriority: Int64 | None = None

    NetworkID: str | None = None
    EndpointID: str | None = None
    Gateway: str | None = None
    IPAddress: str | None = None
    IPPrefixLen: Int64 | None = None
    IPv6Gateway: str | None = None
    GlobalIPv6Address: str | None = None
    GlobalIPv6PrefixLen: Int64 | None = None
    DNSNames: Names = None


class Networking(Body):
    """``NetworkingConfig``."""

    EndpointsConfig: dict[str, EndpointSettings | None] | None = None


class ContainerCreate(Config):
    """The whole body."""

    HostConfig: Host | None = None
    NetworkingConfig: Networking | None = None
