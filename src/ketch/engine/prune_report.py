"""What every kind of prune answers."""

from __future__ import annotations

import msgspec


class PruneReport(msgspec.Struct, frozen=True, kw_only=True):
    """What a prune deleted, and the bytes that are free again."""

    deleted: tuple[str, ...] = ()
    reclaimed: int = 0
