"""An exec instance: what was asked for, and what is."""

from __future__ import annotations

import msgspec


class ExecSpec(msgspec.Struct, frozen=True, kw_only=True):
    """A process to run in a running container."""

    cmd: tuple[str, ...]
    env: tuple[str, ...] = ()
    user: str = ""
    working_dir: str = ""
    tty: bool = False
    privileged: bool = False
    attach_stdin: bool = False
    attach_stdout: bool = False
    attach_stderr: bool = False
    detach_keys: str = ""
    console_size: tuple[int, int] = (0, 0)  # height, width
    die_with_client: bool = False


class ExecRecord(msgspec.Struct, frozen=True, kw_only=True):
    """An exec instance; ``exit_code`` is None until it ended."""

    id: str
    container_id: str
    spec: ExecSpec
    running: bool = False
    started: bool = False
    started_at: int = 0
    pid: int = 0
    exit_code: int | None = None
