"""``HostConfig``: what a container gets from its host."""

from __future__ import annotations

from typing import Any

from ketch.api.schema import Body, Int64, Map, Names


class Restart(Body):
    """``RestartPolicy``."""

    Name: str | None = None
    MaximumRetryCount: Int64 | None = None


class Log(Body):
    """``LogConfig``."""

    Type: str | None = None
    Config: Map = None


class Rlimit(Body):
    """``Ulimit``."""

    Name: str
    Soft: Int64 | None = None
    Hard: Int64 | None = None


class Device(Body):
    """``DeviceMapping``."""

    PathOnHost: str | None = None
    PathInContainer: str | None = None
    CgroupPermissions: str | None = None


class WeightDevice(Body):
    """``BlkioWeightDevice``."""

    Path: str
    Weight: Int64


class ThrottleDevice(Body):
    """``ThrottleDevice``: bytes or operations per second."""

    Path: str
    Rate: Int64


class Request(Body):
    """``DeviceRequest``."""

    Driver: str | None = None
    Count: Int64 | None = None
    DeviceIDs: Names = None
    Capabilities: list[list[str]] | None = None
    Options: Map = None


class Binding(Body):
    """``PortBinding``."""

    HostIp: str | None = None
    HostPort: str | None = None


class ForBind(Body):
    """Of a mount of type bind."""

    Propagation: str | None = None
    NonRecursive: bool | None = None
    CreateMountpoint: bool | None = None
    ReadOnlyNonRecursive: bool | None = None
    ReadOnlyForceRecursive: bool | None = None


class Driver(Body):
    """``DriverConfig`` of a volume."""

    Name: str | None = None
    Options: Map = None


class ForVolume(Body):
    """Of a mount of type volume."""

    NoCopy: bool | None = None
    Labels: Map = None
    DriverConfig: Driver | None = None
    Subpath: str | None = None


class ForImage(Body):
    """Of a mount of type image."""

    Subpath: str | None = None


class ForTmpfs(Body):
    """Of a mount of type tmpfs; ``Mode`` is a number of permission bits."""

    SizeBytes: Int64 | None = None
    Mode: Int64 | None = None
    Options: list[list[str]] | None = None


class Mount(Body):
    """One of ``Mounts``; named options of other types are refused by the conversion."""

    Target: str | None = None
    Source: str | None = None
    Type: str | None = None
    ReadOnly: bool | None = None
    Consistency: str | None = None
    BindOptions: ForBind | None = None
    VolumeOptions: ForVolume | None = None
    TmpfsOptions: ForTmpfs | None = None
    ImageOptions: ForImage | None = None
    ClusterOptions: dict[str, Any] | None = None


class Limits(Body):
    """``Resources``: what ``create`` and ``update`` share. Sizes in bytes."""

    CpuShares: Int64 | None = None
    Memory: Int64 | None = None
    NanoCpus: Int64 | None = None
    CgroupParent: str | None = None
    BlkioWeight: Int64 | None = None
    BlkioWeightDevice: list[WeightDevice] | None = None
    BlkioDeviceReadBps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteBps: list[ThrottleDevice] | None = None
    BlkioDeviceReadIOps: list[ThrottleDevice] | None = None
    BlkioDeviceWriteIOps: list[ThrottleDevice] | None = None
    CpuPeriod: Int64 | None = None
    CpuQuota: Int64 | None = None
    CpuRealtimePeriod: Int64 | None = None
    CpuRealtimeRuntime: Int64 | None = None
    CpusetCpus: str | None = None
    CpusetMems: str | None = None
    Devices: list[Device] | None = None
    DeviceCgroupRules: Names = None
    DeviceRequests: list[Request] | None = None
    KernelMemory: Int64 | None = None
    KernelMemoryTCP: Int64 | None = None
    MemoryReservation: Int64 | None = None
    MemorySwap: Int64 | None = None
    MemorySwappiness: Int64 | None = None
    OomKillDisable: bool | None = None
    PidsLimit: Int64 | None = None
    Ulimits: list[Rlimit] | None = None
    CpuCount: Int64 | None = None
    CpuPercent: Int64 | None = None
    IOMaximumIOps: Int64 | None = None
    IOMaximumBandwidth: Int64 | None = None


class UpdateChanges(Body):
    """What ketch changes beyond Docker: ``Ketch`` of the update body (docs/beyond.md)."""

    PublishAdd: dict[str, list[Binding] | None] | None = None
    PublishRemove: Names = None
    LabelsAdd: Map = None
    LabelsRemove: Names = None
    EnvAdd: Names = None
    EnvRemove: Names = None
    MountsAdd: list[Mount] | None = None
    MountsRemove: Names = None


class Update(Limits):
    """The body of ``POST /containers/{id}/update``."""

    RestartPolicy: Restart | None = None
    Ketch: UpdateChanges | None = None


class Host(Limits):
    """``HostConfig``."""

    Binds: Names = None
    ContainerIDFile: str | None = None
    LogConfig: Log | None = None
    NetworkMode: str | None = None
    PortBindings: dict[str, list[Binding] | None] | None = None
    RestartPolicy: Restart | None = None
    AutoRemove: bool | None = None
    VolumeDriver: str | None = None
    VolumesFrom: Names = None
    Mounts: list[Mount] | None = None
    ConsoleSize: list[Int64] | None = None
    Annotations: Map = None
    CapAdd: Names = None
    CapDrop: Names = None
    CgroupnsMode: str | None = None
    Dns: Names = None
    DnsOptions: Names = None
    DnsSearch: Names = None
    ExtraHosts: Names = None
    GroupAdd: Names = None
    IpcMode: str | None = None
    Cgroup: str | None = None
    Links: Names = None
    OomScoreAdj: Int64 | None = None
    PidMode: str | None = None
    Privileged: bool | None = None
    PublishAllPorts: bool | None = None
    ReadonlyRootfs: bool | None = None
    SecurityOpt: Names = None
    StorageOpt: Map = None
    Tmpfs: Map = None
    UTSMode: str | None = None
    UsernsMode: str | None = None
    ShmSize: Int64 | None = None
    Sysctls: Map = None
    Runtime: str | None = None
    Isolation: str | None = None
    Init: bool | None = None
    MaskedPaths: Names = None
    ReadonlyPaths: Names = None
