"""One event, as it is stored and told."""

from __future__ import annotations

import msgspec


class Event(msgspec.Struct, frozen=True, kw_only=True):
    """Something that happened; ``action`` in Docker's words (``create``, ``exec_die``)."""

    type: str
    action: str
    actor: str
    attributes: dict[str, str] = {}
    time: int = 0
