"""Filters of the build history."""

from __future__ import annotations

import time

import pytest

from ketch.buildkit.history.filter import passes_all
from ketch.engine.builder.history.records import BuildRecord
from ketch.errors import InvalidParameter

NOW = time.time_ns()
MINUTE = 60 * 10**9
RECORDS = [
    BuildRecord(ref="old", name="", started_at=1, completed_at=5 * 10**9, status="completed"),
    BuildRecord(
        ref="new", name="", started_at=NOW - MINUTE, completed_at=NOW, status="error",
        attributes={"vcs:source": "https://host/repo.git"},
    ),
    BuildRecord(ref="now", name="", started_at=NOW - 2 * MINUTE, status="running"),
]  # fmt: skip


@pytest.mark.parametrize(
    ("filters", "found"),
    [
        ([], "old new now"),
        ([""], "old new now"),
        (["ref~=n"], "new now"),
        (["ref~=^n.w$,status!=running"], "new"),
        (["status==completed", "status==running"], "old now"),
        (["repository~=host"], "new"),
        (["startedAt>1h"], "new now"),
        (["startedAt<1971-01-01T00:00:00Z"], "old"),
        (["completedAt>=1h"], "new"),
        (["duration>=30s,duration<=90s"], "new"),
        (["duration<10s"], "old"),
    ],
)
def test_which_records_pass(filters: list[str], found: str) -> None:
    passes = passes_all(filters)
    assert [record.ref for record in RECORDS if passes(record)] == found.split()


@pytest.mark.parametrize(
    "text",
    ["name==x", "status=error", "startedAt>yesterday", "duration>2026-01-01T00:00:00Z", "ref~=["],
)
def test_what_is_no_filter(text: str) -> None:
    with pytest.raises(InvalidParameter):
        passes_all([text])
