"""What is kept for the next build, and for how long: contexts and downloads."""

from __future__ import annotations

import time
from collections.abc import Iterable
from typing import Protocol

UNUSED = 48 * 3600 * 1_000_000_000  # ns, as BuildKit's policy for local sources has it


class Kept(Protocol):
    """A record: its key, bytes on the disk, and when it was used last (ns)."""

    @property
    def key(self) -> str: ...
    @property
    def size(self) -> int: ...
    @property
    def used_at(self) -> int: ...


def overdue(records: Iterable[Kept], most: int) -> list[str]:
    """The keys of those that nobody used for two days, and of those that were used longest ago
    while all together have more than ``most`` bytes."""
    left, found, now = most, [], time.time_ns()
    for record in sorted(records, key=lambda one: -one.used_at):
        left -= record.size
        if left < 0 or record.used_at < now - UNUSED:
            found.append(record.key)
    return found
