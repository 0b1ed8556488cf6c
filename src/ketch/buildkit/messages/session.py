"""Messages of the services that a client offers through its session.

``moby.filesync.v1`` (FileSync, FileSend, Auth), ``moby.buildkit.secrets.v1``,
``moby.sshforward.v1``, ``moby.upload.v1``, ``containerd.services.content.v1`` (Content) and
``fsutil.types``.
"""

from __future__ import annotations

from ketch.protobuf import Message, field

PACKET_STAT, PACKET_REQ, PACKET_DATA, PACKET_FIN, PACKET_ERR = range(5)
ACTION_STAT, ACTION_WRITE, ACTION_COMMIT = range(3)


class Stat(Message):
    """``fsutil.types.Stat``: ``mode`` is a Go ``FileMode``, ``modTime`` ns since the epoch."""

    path: str = field(1)
    mode: int = field(2)
    uid: int = field(3)
    gid: int = field(4)
    size: int = field(5)
    modTime: int = field(6)
    linkname: str = field(7)
    devmajor: int = field(8)
    devminor: int = field(9)
    xattrs: dict[str, bytes] = field(10)


class Packet(Message):
    """``fsutil.types.Packet``: one step of a transfer of files."""

    type: int = field(1)
    stat: Stat | None = field(2)
    ID: int = field(3)
    data: bytes = field(4)


class BytesMessage(Message):
    """A piece of a stream."""

    data: bytes = field(1)


class CredentialsRequest(Message):
    """For which registry."""

    Host: str = field(1)


class CredentialsResponse(Message):
    """Without a user, ``Secret`` is an identity token."""

    Username: str = field(1)
    Secret: str = field(2)


class GetSecretRequest(Message):
    """Which secret."""

    ID: str = field(1)


class GetSecretResponse(Message):
    """Its value."""

    data: bytes = field(1)


class CheckAgentRequest(Message):
    """Which agent."""

    ID: str = field(1)


class CheckAgentResponse(Message):
    """There is one."""


class HealthCheckRequest(Message):
    """``grpc.health.v1``: of which service; "" is all of it."""

    service: str = field(1)


class HealthCheckResponse(Message):
    """1: it serves."""

    status: int = field(1)


class ContentInfo(Message):
    """``containerd.services.content.v1.Info``."""

    digest: str = field(1)
    size: int = field(2)


class ListContentRequest(Message):
    """Which blobs: one of the filters must let one through."""

    filters: list[str] = field(1)


class ListContentResponse(Message):
    """Some of them."""

    info: list[ContentInfo] = field(1)


class InfoRequest(Message):
    """Which blob."""

    digest: str = field(1)


class InfoResponse(Message):
    """It is there."""

    info: ContentInfo = field(1)


class ReadContentRequest(Message):
    """Bytes of a blob; size 0 is the rest of it."""

    digest: str = field(1)
    offset: int = field(2)
    size: int = field(3)


class ReadContentResponse(Message):
    """Some of them."""

    offset: int = field(1)
    data: bytes = field(2)


class WriteContentRequest(Message):
    """One step of writing a blob; all steps of one have its ``ref``."""

    action: int = field(1)
    ref: str = field(2)
    total: int = field(3)
    expected: str = field(4)
    offset: int = field(5)
    data: bytes = field(6)


class WriteContentResponse(Message):
    """How far it came."""

    action: int = field(1)
    offset: int = field(4)
    total: int = field(5)
    digest: str = field(6)
