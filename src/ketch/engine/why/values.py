"""What ``why`` answers, as values."""

from __future__ import annotations

import msgspec

from ketch.engine.containers.health_values import Health
from ketch.engine.why.endings import PastExit

KNOWN, LIKELY, POSSIBLE = "known", "likely", "possible"


class Finding(msgspec.Struct, frozen=True, kw_only=True):
    """One thing that was found out; ``text`` is for people, ``details`` for programs.

    ``certainty``: ``known`` (recorded or looked at), ``likely`` (fits what was seen), ``possible``.
    """

    kind: str
    text: str
    certainty: str = KNOWN
    details: dict[str, str | int] = {}


class Explanation(msgspec.Struct, frozen=True, kw_only=True):
    """Why a container does not run, or what is to be said of one that does."""

    container_id: str
    name: str
    status: str
    exit_code: int
    signal: int
    findings: tuple[Finding, ...]
    exits: tuple[PastExit, ...] = ()
    health: Health | None = None
    log: tuple[str, ...] = ()
