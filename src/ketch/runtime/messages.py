"""The objects that cross the launcher's and the shims' sockets, as types.

For the engine's side; launcher and shim never import this (``typing`` costs them memory). The
prose is in ``docs/contracts.md``.
"""

from __future__ import annotations

from typing import Any, NotRequired, TypedDict

import msgspec

Wire = dict[str, Any]
"""``to_wire()`` of a ``Link``, ``Mount`` or ``Rootfs``, or an OCI object."""


class CgroupName(TypedDict):
    """Where the cgroup is made: ``parent`` like ``/ketch``, ``name`` a single name."""

    parent: str
    name: str


class Attach(TypedDict):
    """One client of a process's stdio; its socket is an fd of the message.

    ``framed`` = stdcopy frames (docker's multiplexed stream); ``detach_keys`` are byte values,
    heeded on a terminal only; ``input`` is base64 of bytes already read from the client.
    """

    stdin: bool
    stdout: bool
    stderr: bool
    framed: bool
    detach_keys: list[int]
    input: str


class Log(TypedDict):
    """``max_size`` in bytes, 0 = unbounded; ``compress``: what is rotated away.

    ``path`` is the driver's file; with syslog and journald that of the copy, empty for none.

    ``buffer``: bytes that may wait, then lines are lost (non-blocking). ``settings`` are those of
    ``ketch.logs.syslog`` or ``ketch.logs.journald``.
    """

    driver: str
    path: str
    max_size: int
    max_file: int
    attrs: dict[str, str]
    compress: NotRequired[bool]
    buffer: NotRequired[int]
    settings: NotRequired[Wire]


class Forward(TypedDict):
    """A port that a shim is to carry to the container; its socket is an fd of the message.

    ``protocol`` is tcp (the socket listens) or udp; ``target`` an IPv4 address and a port.
    """

    name: str
    protocol: str
    target: tuple[str, int]


class Runtime(TypedDict):
    """An external OCI runtime: the program, its first arguments, a directory of its own."""

    path: str
    args: list[str]
    root: str


class Warm(TypedDict):
    """A sandbox to make ahead; ``namespaces`` are the OCI objects of ``spec.linux.namespaces``."""

    id: str
    cgroup: CgroupName
    link: Wire | None
    namespaces: list[Wire]


class Start(TypedDict):
    """A container to start. ``warm`` is the ID of a warm member, None for a cold start.

    ``user`` is ``name:group`` or numbers, resolved in the rootfs; ``console`` is [height, width],
    zeros for unset; ``socket`` the path of the shim's socket. With ``init`` our init program
    becomes process 1 and starts the program.
    """

    id: str
    bundle: str
    durable: bool  # the exit file outlives a power cut
    spec: Wire
    rootfs: Wire
    images: list[Wire]  # ``Rootfs`` of each image that is mounted: sources ``image:0``…
    warm: str | None
    link: Wire | None
    cgroup: CgroupName
    user: str
    groups_add: list[str]
    make_cwd: bool
    init: bool
    seccomp: str
    stdin: bool
    stdin_once: bool
    terminal: bool
    console: list[int]
    log: Log
    runtime: NotRequired[Runtime]  # another OCI runtime than ours
    attach: NotRequired[list[Attach]]  # set by ``Launcher.start``
    seccomp_flags: NotRequired[int]
    socket: str


class Exec(TypedDict):
    """A process to run in a container; ``pidfd`` is set by ``Launcher.exec``."""

    id: str
    container: str
    bundle: str
    init_pid: int
    process: Wire
    user: str
    groups_add: list[str]
    seccomp: str
    stdin: bool
    terminal: bool
    console: list[int]
    socket: str
    attach: NotRequired[list[Attach]]
    pidfd: NotRequired[int | None]
    die_with_client: NotRequired[float]  # seconds from SIGTERM to SIGKILL once no client is left
    runtime: NotRequired[Runtime]


class Started(msgspec.Struct, frozen=True):
    """The process runs; ``started_at`` in ns since the epoch; ``cgroup`` controller → directory."""

    pid: int
    started_at: int
    cgroup: dict[str, str]


class Exit(msgspec.Struct, frozen=True):
    """The process ended; ``status`` is 128 + ``signal`` when a signal ended it; ``at`` in ns."""

    status: int
    signal: int
    oom: bool
    at: int
