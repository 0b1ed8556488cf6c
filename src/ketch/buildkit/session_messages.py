"""Messages of the services that a client offers through its session.

``moby.filesync.v1`` (FileSync, FileSend, Auth), ``moby.buildkit.secrets.v1``,
``moby.sshforward.v1``, ``moby.upload.v1`` and ``fsutil.types``.
"""

from __future__ import annotations

from ketch.protobuf import Message, field

PACKET_STAT, PACKET_REQ, PACKET_DATA, PACKET_FIN, PACKET_ERR = range(5)


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
