"""Messages of ``moby.buildkit.v1.Control`` (BuildKit's api/services/control/control.proto).

Only fields that ketch reads or writes are here; the wire format skips the others.
"""

from __future__ import annotations

from ketch.llb.messages import Definition
from ketch.protobuf import Message, Timestamp, field


class Platform(Message):
    """``pb.Platform``."""

    Architecture: str = field(1)
    OS: str = field(2)
    Variant: str = field(3)


class Attributes(Message):
    """``Exporter`` and ``CacheOptionsEntry``: a type and its options."""

    Type: str = field(1)
    Attrs: dict[str, str] = field(2)


class CacheOptions(Message):
    """Where the cache goes to and comes from."""

    Exports: list[Attributes] = field(4)
    Imports: list[Attributes] = field(5)


class SolveRequest(Message):
    """Start a build; without a front end it is driven by ``LLBBridge`` calls."""

    Ref: str = field(1)
    definition: Definition | None = field(2)
    ExporterDeprecated: str = field(3)
    ExporterAttrsDeprecated: dict[str, str] = field(4)
    Session: str = field(5)
    Frontend: str = field(6)
    FrontendAttrs: dict[str, str] = field(7)
    Cache: CacheOptions = field(8)
    Entitlements: list[str] = field(9)
    FrontendInputs: dict[str, Definition] = field(10)
    Internal: bool = field(11)
    SourcePolicy: bytes = field(12)
    Exporters: list[Attributes] = field(13)
    EnableSessionExporter: bool = field(14)


class SolveResponse(Message):
    """What the exporters say."""

    ExporterResponse: dict[str, str] = field(1)


class StatusRequest(Message):
    """Follow a build."""

    Ref: str = field(1)


class StatusVertex(Message):
    """``Vertex``."""

    digest: str = field(1)
    inputs: list[str] = field(2)
    name: str = field(3)
    cached: bool = field(4)
    started: Timestamp | None = field(5)
    completed: Timestamp | None = field(6)
    error: str = field(7)


class VertexStatus(Message):
    """Progress of a part of a vertex."""

    ID: str = field(1)
    vertex: str = field(2)
    name: str = field(3)
    current: int = field(4)
    total: int = field(5)
    timestamp: Timestamp | None = field(6)
    started: Timestamp | None = field(7)
    completed: Timestamp | None = field(8)


class VertexLog(Message):
    """Output of a vertex."""

    vertex: str = field(1)
    timestamp: Timestamp | None = field(2)
    stream: int = field(3)
    msg: bytes = field(4)


class SourceInfo(Message):
    """``pb.SourceInfo``: the file that a warning is about."""

    filename: str = field(1)
    data: bytes = field(2)
    language: str = field(4)


class SourcePosition(Message):
    """``pb.Position``; lines count from 1."""

    line: int = field(1)
    character: int = field(2)


class SourceRange(Message):
    """``pb.Range``."""

    start: SourcePosition = field(1)
    end: SourcePosition = field(2)


class VertexWarning(Message):
    """A sentence about the Dockerfile."""

    vertex: str = field(1)
    level: int = field(2)
    short: bytes = field(3)
    detail: list[bytes] = field(4)
    url: str = field(5)
    info: SourceInfo | None = field(6)
    ranges: list[SourceRange] = field(7)


class StatusResponse(Message):
    """Some of what happened."""

    vertexes: list[StatusVertex] = field(1)
    statuses: list[VertexStatus] = field(2)
    logs: list[VertexLog] = field(3)
    warnings: list[VertexWarning] = field(4)


class BytesMessage(Message):
    """A piece of a stream."""

    data: bytes = field(1)


class ListWorkersRequest(Message):
    """Which workers."""

    filter: list[str] = field(1)


class BuildkitVersion(Message):
    """Who answers."""

    package: str = field(1)
    version: str = field(2)
    revision: str = field(3)


class GCPolicy(Message):
    """What of the cache goes by itself; sizes in bytes, durations in nanoseconds."""

    all: bool = field(1)
    keepDuration: int = field(2)
    reservedSpace: int = field(3)
    filters: list[str] = field(4)
    maxUsedSpace: int = field(5)
    minFreeSpace: int = field(6)


class WorkerRecord(Message):
    """A worker; ketch is one."""

    ID: str = field(1)
    Labels: dict[str, str] = field(2)
    platforms: list[Platform] = field(3)
    GCPolicy: list[GCPolicy] = field(4)
    version: BuildkitVersion | None = field(5)


class ListWorkersResponse(Message):
    """All workers."""

    record: list[WorkerRecord] = field(1)


class InfoRequest(Message):
    """Nothing to say."""


class InfoResponse(Message):
    """The version."""

    buildkitVersion: BuildkitVersion | None = field(1)


class DiskUsageRequest(Message):
    """What of the cache."""

    filter: list[str] = field(1)


class UsageRecord(Message):
    """One entry of the cache; sizes in bytes."""

    ID: str = field(1)
    Mutable: bool = field(2)
    InUse: bool = field(3)
    Size: int = field(4)
    CreatedAt: Timestamp | None = field(6)
    LastUsedAt: Timestamp | None = field(7)
    UsageCount: int = field(8)
    Description: str = field(9)
    RecordType: str = field(10)
    Shared: bool = field(11)
    Parents: list[str] = field(12)


class DiskUsageResponse(Message):
    """The cache."""

    record: list[UsageRecord] = field(1)


class PruneRequest(Message):
    """What to forget; durations in nanoseconds, sizes in bytes."""

    filter: list[str] = field(1)
    all: bool = field(2)
    keepDuration: int = field(3)
    reservedSpace: int = field(4)
    maxUsedSpace: int = field(5)
    minFreeSpace: int = field(6)


class BuildHistoryRequest(Message):
    """Which builds, and whether those to come too."""

    ActiveOnly: bool = field(1)
    Ref: str = field(2)
    EarlyExit: bool = field(3)
    Filter: list[str] = field(4)
    Limit: int = field(5)


class RpcStatus(Message):
    """``google.rpc.Status``."""

    code: int = field(1)
    message: str = field(2)


class BlobDescriptor(Message):
    """``Descriptor``: a blob of the content store."""

    media_type: str = field(1)
    digest: str = field(2)
    size: int = field(3)
    annotations: dict[str, str] = field(5)


class BuildResultInfo(Message):
    """What a build came to; ``Results`` are by the number of the output."""

    ResultDeprecated: BlobDescriptor | None = field(1)
    Attestations: list[BlobDescriptor] = field(2)
    Results: dict[int, BlobDescriptor] = field(3)


class BuildHistoryRecord(Message):
    """One build."""

    Ref: str = field(1)
    Frontend: str = field(2)
    FrontendAttrs: dict[str, str] = field(3)
    Exporters: list[Attributes] = field(4)
    error: RpcStatus | None = field(5)
    CreatedAt: Timestamp | None = field(6)
    CompletedAt: Timestamp | None = field(7)
    logs: BlobDescriptor | None = field(8)
    ExporterResponse: dict[str, str] = field(9)
    Result: BuildResultInfo | None = field(10)
    Results: dict[str, BuildResultInfo] = field(11)
    Generation: int = field(12)
    numCachedSteps: int = field(15)
    numTotalSteps: int = field(16)
    numCompletedSteps: int = field(17)
    externalError: BlobDescriptor | None = field(18)
    numWarnings: int = field(19)


class BuildHistoryEvent(Message):
    """A build began (0), is over (1) or was deleted (2)."""

    type: int = field(1)
    record: BuildHistoryRecord | None = field(2)


class UpdateBuildHistoryRequest(Message):
    """What to do with a build's record."""

    Ref: str = field(1)
    Pinned: bool = field(2)
    Delete: bool = field(3)
    Finalize: bool = field(4)


class UpdateBuildHistoryResponse(Message):
    """Done."""
