"""How runs of containers end: what the engine did to them, what the kernel said, what is over."""

from __future__ import annotations

import msgspec


class SentSignal(msgspec.Struct, frozen=True, kw_only=True):
    """A signal that the engine sent, and on whose behalf.

    ``by``: ``stop``, ``kill``, ``restart``, ``remove`` (a client's wish) or ``health``; ``client``
    is what the client said of itself. ``revive``: the container is started again after its end.
    """

    signal: int
    by: str
    at: int
    client: str = ""
    ignored: int = 0  # the signal before, which did not end it in time
    revive: bool = False


class OutOfMemory(msgspec.Struct, frozen=True, kw_only=True):
    """What the kernel's log said of an OOM kill; ``pid`` is the host's, 0 = not known."""

    victim: str = ""
    pid: int = 0
    limit: int = 0  # bytes


class DeniedCall(msgspec.Struct, frozen=True, kw_only=True):
    """A system call that seccomp denied; ``first`` = to the container's first process."""

    call: str
    program: str
    count: int = 1
    first: bool = False


class PastExit(msgspec.Struct, frozen=True, kw_only=True):
    """One run that is over; ``cause`` is ``SentSignal.by`` of what ended it, empty for none."""

    started_at: int
    at: int
    exit_code: int
    signal: int = 0
    oom: bool = False
    cause: str = ""
    pid: int = 0  # of the host
