"""Messages of programs in build graphs: parts of ``pb.ExecOp`` (solver/pb/ops.proto)."""

from __future__ import annotations

from ketch.protobuf import Message, field

BIND, SECRET, SSH, CACHE, TMPFS = range(5)  # MountType
SHARED, PRIVATE, LOCKED = range(3)  # CacheSharingOpt
SANDBOX, HOST_NETWORK, NO_NETWORK = range(3)  # NetMode
CONFINED, INSECURE = range(2)  # SecurityMode
MOUNT_TYPES = ("BIND", "SECRET", "SSH", "CACHE", "TMPFS")


class HostIP(Message, strict=True):
    """A line of ``/etc/hosts``."""

    Host: str = field(1)
    IP: str = field(2)


class ProxyEnv(Message, strict=True):
    """Proxies that the program is told of; they are no part of what it is."""

    http_proxy: str = field(1)
    https_proxy: str = field(2)
    ftp_proxy: str = field(3)
    no_proxy: str = field(4)
    all_proxy: str = field(5)


class UlimitMessage(Message, strict=True):
    """``pb.Ulimit``."""

    Name: str = field(1)
    Soft: int = field(2)
    Hard: int = field(3)


class Meta(Message, strict=True):
    """A program: its words, its environment."""

    args: list[str] = field(1)
    env: list[str] = field(2)
    cwd: str = field(3)
    user: str = field(4)
    proxy_env: ProxyEnv | None = field(5)
    extraHosts: list[HostIP] = field(6)
    hostname: str = field(7)
    ulimit: list[UlimitMessage] = field(9)
    cgroupParent: str = field(10)
    removeMountStubsRecursive: bool = field(11)
    validExitCodes: list[int] = field(12)


class TmpfsOpt(Message, strict=True):
    """Of a tmpfs; 0 is no limit."""

    size: int = field(1)


class CacheOpt(Message, strict=True):
    """Of a cache mount."""

    ID: str = field(1)
    sharing: int = field(2)


class SecretOpt(Message, strict=True):
    """Of a secret; an optional one may be missing."""

    ID: str = field(1)
    uid: int = field(2)
    gid: int = field(3)
    mode: int = field(4)
    optional: bool = field(5)


class SSHOpt(Message, strict=True):
    """Of an agent's socket."""

    ID: str = field(1)
    uid: int = field(2)
    gid: int = field(3)
    mode: int = field(4)
    optional: bool = field(5)


class MountMessage(Message, strict=True):
    """``pb.Mount``: ``input`` and ``output`` count the vertex's (-1: none); ``resultID`` names a
    result instead where there is no vertex."""

    input: int = field(1)
    selector: str = field(2)
    dest: str = field(3)
    output: int = field(4)
    readonly: bool = field(5)
    mountType: int = field(6)
    tmpfsOpt: TmpfsOpt | None = field(19)
    cacheOpt: CacheOpt | None = field(20)
    secretOpt: SecretOpt | None = field(21)
    sshOpt: SSHOpt | None = field(22)
    resultID: str = field(23)
    contentCache: int = field(24)


class SecretEnv(Message, strict=True):
    """A secret as a variable."""

    ID: str = field(1)
    name: str = field(2)
    optional: bool = field(3)
