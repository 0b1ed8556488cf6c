"""Bodies of the exec routes."""

from __future__ import annotations

from ketch.api.schema import Body, Int64, Names


class ExecCreate(Body):
    """``POST /containers/{id}/exec``. ``Detach`` is sent by clients and means nothing here."""

    User: str | None = None
    Privileged: bool | None = None
    Tty: bool | None = None
    ConsoleSize: list[Int64] | None = None
    AttachStdin: bool | None = None
    AttachStdout: bool | None = None
    AttachStderr: bool | None = None
    Detach: bool | None = None
    DetachKeys: str | None = None
    Env: Names = None
    WorkingDir: str | None = None
    Cmd: Names = None
    Container: str | None = None  # docker-py repeats the container here
    DieWithClient: bool | None = None  # ketch's own: see docs/beyond.md


class ExecStart(Body):
    """``POST /exec/{id}/start``."""

    Detach: bool | None = None
    Tty: bool | None = None
    ConsoleSize: list[Int64] | None = None
