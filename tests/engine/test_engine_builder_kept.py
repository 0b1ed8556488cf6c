"""Which of what is kept for the next build has to go."""

from __future__ import annotations

import time
from dataclasses import dataclass

from hypothesis import given
from hypothesis import strategies as st

from ketch.engine.builder.contexts.kept import overdue

HOUR = 3600 * 1_000_000_000


@dataclass
class One:
    key: str
    size: int
    used_at: int


def of(*sizes_and_hours: tuple[int, int]) -> list[One]:
    now = time.time_ns()
    return [One(str(at), size, now - h * HOUR) for at, (size, h) in enumerate(sizes_and_hours)]


def test_what_was_used_longest_ago_goes_first() -> None:
    assert overdue(of((40, 3), (40, 1), (40, 2)), 100) == ["0"]
    assert overdue(of((40, 3), (40, 1), (40, 2)), 120) == []


def test_what_nobody_used_for_two_days_goes() -> None:
    assert overdue(of((1, 47), (1, 49)), 100) == ["1"]


@given(st.lists(st.tuples(st.integers(0, 100), st.integers(0, 60))), st.integers(0, 500))
def test_what_stays_has_room(given_: list[tuple[int, int]], most: int) -> None:
    records = of(*given_)
    gone = set(overdue(records, most))
    assert sum(one.size for one in records if one.key not in gone) <= most
