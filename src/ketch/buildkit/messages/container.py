"""Messages about containers of a client's own: ``NewContainer``, ``ExecProcess``
(frontend/gateway/pb/gateway.proto)."""

from __future__ import annotations

from ketch.buildkit.messages.control import Platform
from ketch.buildkit.messages.gateway import Status
from ketch.llb.exec_messages import HostIP, Meta, MountMessage, SecretEnv
from ketch.protobuf import Message, field


class WorkerConstraints(Message):
    """Which workers may do it."""

    filter: list[str] = field(1)


class NewContainerRequest(Message):
    """A container by the name that the client gives it."""

    ContainerID: str = field(1)
    Mounts: list[MountMessage] = field(2)
    Network: int = field(3)
    platform: Platform | None = field(4)
    constraints: WorkerConstraints | None = field(5)
    extraHosts: list[HostIP] = field(6)
    hostname: str = field(7)


class NewContainerResponse(Message):
    """It is there; nothing runs in it yet."""


class ReleaseContainerRequest(Message):
    """The client is done with it."""

    ContainerID: str = field(1)


class ReleaseContainerResponse(Message):
    """It is gone, and all that ran in it."""


class InitMessage(Message):
    """Run a program; ``Fds`` are the streams that the client wants."""

    ContainerID: str = field(1)
    meta: Meta | None = field(2)
    Fds: list[int] = field(3)
    Tty: bool = field(4)
    Security: int = field(5)
    secretenv: list[SecretEnv] = field(6)


class FdMessage(Message):
    """Bytes of a stream, or its end."""

    Fd: int = field(1)
    EOF: bool = field(2)
    Data: bytes = field(3)


class ResizeMessage(Message):
    """The terminal's size."""

    Rows: int = field(1)
    Cols: int = field(2)


class StartedMessage(Message):
    """The program runs."""


class ExitMessage(Message):
    """How it ended; ``Error`` says more where it is not 0."""

    Code: int = field(1)
    Error: Status | None = field(2)


class DoneMessage(Message):
    """Nothing comes of it any more."""


class SignalMessage(Message):
    """A signal by its name, ``KILL``."""

    Name: str = field(1)


class ExecMessage(Message):
    """One thing about one program, told or asked; at most one of its parts is there."""

    ProcessID: str = field(1)
    Init: InitMessage | None = field(2)
    File: FdMessage | None = field(3)
    Resize: ResizeMessage | None = field(4)
    Started: StartedMessage | None = field(5)
    Exit: ExitMessage | None = field(6)
    Done: DoneMessage | None = field(7)
    Signal: SignalMessage | None = field(8)
