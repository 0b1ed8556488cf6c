"""Messages of ``moby.buildkit.v1.frontend.LLBBridge`` (frontend/gateway/pb/gateway.proto)."""

from __future__ import annotations

from ketch.buildkit.messages.control import Attributes, WorkerRecord
from ketch.buildkit.messages.session import Stat
from ketch.llb.messages import Definition, Platform, SourceOp
from ketch.protobuf import Message, field


class PingRequest(Message):
    """Who are you."""


class Cap(Message):
    """``apicaps.APICap``: something that the server can do."""

    ID: str = field(1)
    Enabled: bool = field(2)


class PongResponse(Message):
    """What a client may use."""

    FrontendAPICaps: list[Cap] = field(1)
    LLBCaps: list[Cap] = field(2)
    Workers: list[WorkerRecord] = field(3)


class Ref(Message):
    """A result by its name, and how another build names it as an input."""

    id: str = field(1)
    definition: Definition | None = field(2)


class OldRefMap(Message):
    """The names of results by platform, of clients that know no ``Ref``."""

    refs: dict[str, str] = field(1)


class RefMap(Message):
    """Results by platform."""

    refs: dict[str, Ref] = field(1)


class Result(Message):
    """What a solve came to: one reference, or one for each platform."""

    refDeprecated: str = field(1)
    refsDeprecated: OldRefMap | None = field(2)
    ref: Ref | None = field(3)
    refs: RefMap | None = field(4)
    metadata: dict[str, bytes] = field(10)
    attestations: dict[str, bytes] = field(11)


class GatewaySolveRequest(Message):
    """Run a front end."""

    definition: Definition | None = field(1)
    Frontend: str = field(2)
    FrontendOpt: dict[str, str] = field(3)
    allowResultReturn: bool = field(5)
    allowResultArrayRef: bool = field(6)
    CacheImports: list[Attributes] = field(12)
    FrontendInputs: dict[str, Definition] = field(13)
    Evaluate: bool = field(14)
    SourcePolicies: list[bytes] = field(15)


class GatewaySolveResponse(Message):
    """The result."""

    ref: str = field(1)
    result: Result | None = field(3)


class Any(Message):
    """``google.protobuf.Any``."""

    type_url: str = field(1)
    value: bytes = field(2)


class Status(Message):
    """``google.rpc.Status``."""

    code: int = field(1)
    message: str = field(2)
    details: list[Any] = field(3)


class ResolveImageConfigRequest(Message):
    """What an image's configuration is; the type of resolver 1 is a layout of the client's."""

    Ref: str = field(1)
    Platform: Platform | None = field(2)
    ResolveMode: str = field(3)
    LogName: str = field(4)
    ResolverType: int = field(5)
    SessionID: str = field(6)
    StoreID: str = field(7)
    SourcePolicies: list[bytes] = field(8)


class ResolveImageConfigResponse(Message):
    """The manifest's digest ("" of an image that is here), the configuration, the reference."""

    Digest: str = field(1)
    Config: bytes = field(2)
    Ref: str = field(3)


class ResolveSourceMetaRequest(Message):
    """The same, of a source of a graph."""

    Source: SourceOp | None = field(1)
    Platform: Platform | None = field(2)
    LogName: str = field(3)
    ResolveMode: str = field(4)
    SourcePolicies: list[bytes] = field(8)


class SourceImage(Message):
    """What is known of an image."""

    Digest: str = field(1)
    Config: bytes = field(2)


class ResolveSourceMetaResponse(Message):
    """The source, and what is known of it."""

    Source: SourceOp | None = field(1)
    Image: SourceImage | None = field(2)


class FileRange(Message):
    """A part of a file in bytes."""

    Offset: int = field(1)
    Length: int = field(2)


class ReadFileRequest(Message):
    """A file of a result."""

    Ref: str = field(1)
    FilePath: str = field(2)
    Range: FileRange | None = field(3)


class ReadFileResponse(Message):
    """Its bytes."""

    Data: bytes = field(1)


class StatFileRequest(Message):
    """What a file is."""

    Ref: str = field(1)
    Path: str = field(2)


class StatFileResponse(Message):
    """Its facts."""

    stat: Stat | None = field(1)


class ReadDirRequest(Message):
    """A directory of a result; the pattern is one of ``.dockerignore``."""

    Ref: str = field(1)
    DirPath: str = field(2)
    IncludePattern: str = field(3)


class ReadDirResponse(Message):
    """What is in it."""

    entries: list[Stat] = field(1)


class ReturnRequest(Message):
    """The client has what it wanted: export this, or fail with that."""

    result: Result | None = field(1)
    error: Status | None = field(2)


class ReturnResponse(Message):
    """Nothing to say."""


class EvaluateRequest(Message):
    """See whether a result is there."""

    Ref: str = field(1)


class EvaluateResponse(Message):
    """It is."""


class InputsRequest(Message):
    """Which inputs the front end has."""


class InputsResponse(Message):
    """None."""

    Definitions: dict[str, Definition] = field(1)


class WarnRequest(Message):
    """A warning of the client's own."""

    digest: str = field(1)
    level: int = field(2)
    short: bytes = field(3)


class WarnResponse(Message):
    """Nothing to say."""
